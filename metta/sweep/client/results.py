"""Results: everything a sweep found out, read from its ledger."""

from collections.abc import Awaitable, Callable, Generator
from functools import cached_property
from typing import Any

from metta.sweep.contracts.errors import SweepFailed
from metta.sweep.contracts.records import TrialRecord
from metta.sweep.contracts.sweeps import Progress, Row
from metta.sweep.stores.base import Ledger
from metta.sweep.stores.trials import TrialTable


class Results:
    """Trials of a sweep and the best of them; reading waits for the end of the sweep, and so does awaiting.

    Args:
        sweep_id: Name of the sweep.
        ledger: Its ledger.
        wait: Blocks until the sweep is over.
        waiting: The same to be awaited.
    """

    def __init__(
        self,
        sweep_id: str,
        ledger: Ledger,
        wait: Callable[[], object],
        waiting: Callable[[], Awaitable[object]],
    ) -> None:
        self.sweep_id = sweep_id
        self._ledger = ledger
        self._wait = wait
        self._waiting = waiting

    @classmethod
    def of(cls, sweep_id: str, ledger: Ledger) -> "Results":
        """Results of a sweep that is over."""

        async def over() -> None: ...

        return cls(sweep_id, ledger, wait=lambda: None, waiting=over)

    def __await__(self) -> Generator[Any, None, "Results"]:
        yield from self._waiting().__await__()
        return self

    @cached_property
    def _table(self) -> TrialTable:
        self._wait()
        return table_of(self._ledger)

    @property
    def trials(self) -> list[TrialRecord]:
        """All trials, in the order of their numbers."""
        return self._table.records

    @property
    def best_trial(self) -> TrialRecord:
        """The trial with the best value; the earlier one of equals.

        Raises:
            SweepFailed: When no trial has a value.
        """
        if self._table.best is None:
            raise SweepFailed(f"no trial of {self.sweep_id} has a value: {self.progress.counts}")
        return self._table.best

    @property
    def best_params(self) -> dict[str, Any]:
        """Parameters of the best trial."""
        return self.best_trial.params

    @property
    def best_metric(self) -> float:
        """Value of the best trial in the metric that counts."""
        value = self._table.value(self.best_trial)
        assert value is not None
        return value

    @property
    def final_performance(self) -> dict[str, float]:
        """All metrics of the best trial."""
        return self.best_trial.metrics

    @property
    def progress(self) -> Progress:
        """Counts, time and the best trials."""
        return self._table.progress()

    def leaderboard(self, limit: int | None = 20) -> list[Row]:
        """The best trials, best first; None for all of them."""
        return self._table.leaderboard(limit)

    def __repr__(self) -> str:
        return f"Results({self.sweep_id!r})"


def table_of(ledger: Ledger) -> TrialTable:
    """What a ledger says by now."""
    table = TrialTable()
    for chunk in ledger.read():
        table.apply_chunk(chunk)
    return table
