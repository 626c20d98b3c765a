"""Results: everything a sweep found out, read from its ledger."""

from asyncio import wrap_future
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any

from metta.sweep.client.loop import call, submit
from metta.sweep.contracts.errors import DefinitionError, SweepFailed, SweepNotFound
from metta.sweep.contracts.records import TrialRecord
from metta.sweep.contracts.sweeps import Progress, Row
from metta.sweep.contracts.wording import value_text
from metta.sweep.stores.base import Ledger
from metta.sweep.stores.trials import TrialTable
from metta.sweep.stores.urls import store_of

if TYPE_CHECKING:
    from pandas import DataFrame
    from plotly.graph_objects import Figure


class Results:
    """Trials of a sweep and the best of them; reading waits for the end of the sweep, and so does awaiting.

    Args:
        sweep_id: Name of the sweep.
        ending: Waits for the end of the sweep, and reads its ledger.
    """

    def __init__(self, sweep_id: str, ending: Callable[[], Coroutine[Any, Any, TrialTable]]) -> None:
        self.sweep_id = sweep_id
        self._ending = ending
        self._known: TrialTable | None = None

    @classmethod
    def of(cls, sweep_id: str, table: TrialTable) -> "Results":
        """Results of a sweep that is over, and stays as it is here even if it goes on later."""

        async def over() -> TrialTable:
            return table

        results = cls(sweep_id, over)
        results._known = table
        return results

    def __pack__(self) -> str:
        """What stages of a pipeline hand on of results: the name under which they are recorded."""
        return self.sweep_id

    @classmethod
    def __unpack__(cls, packed: str, store: str) -> "Results":
        """The results that were recorded under a name.

        Args:
            packed: The name.
            store: Address of the store.

        Raises:
            SweepNotFound: When nothing is recorded under it.
        """
        recorded = store_of(store)
        ledger = recorded.ledger(packed)
        if not ledger.exists():
            raise SweepNotFound(packed, recorded.names())
        return cls.of(packed, table_of(ledger))

    def __await__(self) -> Generator[Any, None, "Results"]:
        if self._known is None:
            self._known = yield from wrap_future(submit(self._ending())).__await__()
        return self

    @property
    def table(self) -> TrialTable:
        """What the ledger says at the end."""
        if self._known is None:
            self._known = call(self._ending())
        return self._known

    @property
    def trials(self) -> list[TrialRecord]:
        """All trials, in the order of their numbers."""
        return self.table.records

    @property
    def best_trial(self) -> TrialRecord:
        """The trial with the best value; the earlier one of equals.

        Raises:
            SweepFailed: When no trial has a value.
        """
        if self.table.best is None:
            raise SweepFailed(f"no trial of {self.sweep_id} has a value; {len(self.trials)} were started")
        return self.table.best

    @property
    def best_params(self) -> dict[str, Any]:
        """Parameters of the best trial."""
        return self.best_trial.params

    @property
    def best_metric(self) -> float:
        """Value of the best trial in the metric that counts."""
        value = self.table.value(self.best_trial)
        assert value is not None
        return value

    @property
    def final_performance(self) -> dict[str, float]:
        """All metrics of the best trial."""
        return self.best_trial.metrics

    @property
    def progress(self) -> Progress:
        """Counts, time and the best trials."""
        return self.table.progress()

    def summary(self) -> dict[str, Any]:
        """The best trial and the counts, as plain JSON; None for what is not known."""
        table, counts = self.table, self.progress.counts
        metric, goal = table.objective or (None, None)
        return {
            "sweep": self.sweep_id,
            "metric": metric,
            "goal": goal,
            "best_metric": table.value(table.best) if table.best else None,
            "best_params": table.best.params if table.best else None,
            "trials": counts.started,
            "completed": counts.completed,
            "failed": counts.failed,
            "stopped": counts.stopped,
        }

    def leaderboard(self, limit: int | None = 20) -> list[Row]:
        """The best trials, best first; None for all of them."""
        return self.table.leaderboard(limit)

    def to_dataframe(self) -> "DataFrame":
        """All trials as a table of pandas', one row each.

        Columns are ``trial``, ``status``, ``value`` (of the metric that counts; missing for a trial that
        failed), ``metrics.<name>``, ``step``, ``params.<name>`` (missing where it is not active),
        ``seconds``, ``cost``, ``seed``, ``segment``, ``attempt``, ``failed_attempts``, ``parent``,
        ``failure.kind``, ``failure.message`` and ``checkpoint``.

        Raises:
            DefinitionError: When pandas is not installed.
        """
        from metta.sweep.report.frames import trial_frame

        return trial_frame(self.table)

    def plot(self, kind: str = "history") -> "Figure":
        """A picture of the sweep as a figure of plotly's.

        Args:
            kind: ``"history"``: values of all trials in the order of their numbers, and the best so far.

        Raises:
            DefinitionError: When there is no such plot, or plotly is not installed.
        """
        from metta.sweep.report.plots import plot

        return plot(kind, self.sweep_id, self.table)

    def _repr_html_(self) -> str:
        from metta.sweep.report.cards import results_card

        return results_card(self.sweep_id, self._known)

    def __repr__(self) -> str:
        if self._known is None:
            return f"Results({self.sweep_id!r}, pending)"
        said = f"{len(self.trials)} trials"
        if self._known.best and self._known.objective:
            best = f"{self._known.objective.metric} {value_text(self.best_metric)}"
            said += f", best {best} of trial {self.best_trial.number}"
        return f"Results({self.sweep_id!r}, {said})"


def record_in(table: TrialTable, trial: int, sweep: str) -> TrialRecord:
    """What is known of a trial.

    Raises:
        DefinitionError: When there is none of that number.
    """
    if 0 <= trial < len(table.records):
        return table.records[trial]
    raise DefinitionError([missing_in(table, trial)], sweep)


def missing_in(table: TrialTable, trial: int) -> str:
    """How it is told that there is no trial of a number."""
    known = f"0 to {len(table.records) - 1}" if table.records else "none so far"
    return f"there is no trial {trial}; its trials are {known}"


def table_of(ledger: Ledger) -> TrialTable:
    """What a ledger says by now."""
    return TrialTable(ledger.read())
