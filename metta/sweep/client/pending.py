"""Pending results: those of a sweep that an async stage has started, which it has to await."""

from collections.abc import Generator
from typing import Any

from metta.sweep.client.results import Results
from metta.sweep.contracts.errors import SweepError
from metta.sweep.contracts.nesting import Awaited, Begun, is_in_loop
from metta.sweep.stores.trials import TrialTable


class PendingResults(Results, Awaited):
    """Results that are there when they were awaited.

    Args:
        begun: The sweep.
    """

    def __init__(self, begun: Begun) -> None:
        super().__init__(begun.name, self._ended)
        self._begun = begun

    def __await__(self) -> Generator[Any, Any, Results]:
        return super().__await__()

    @property
    def table(self) -> TrialTable:
        """What the ledger says at the end.

        Raises:
            SweepError: When they were not awaited.
        """
        if self._known is None:
            problem = "is still running; write `await` in front of its run(), and then read what it found"
            raise SweepError(f"{self.sweep_id} {problem}")
        return self._known

    async def _ended(self) -> TrialTable:
        found: Results = await self._begun.awaited()
        self.sweep_id = found.sweep_id
        return found.table


def results_of(begun: Begun) -> Results:
    """What a sweep gives that a stage has started: in an async stage something to await."""
    if is_in_loop():
        return PendingResults(begun)
    results: Results = begun.waited()
    return results
