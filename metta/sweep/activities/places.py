"""Places: where an attempt works on this machine, and what of it is kept for the others."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from temporalio import activity

from metta.sweep.contracts.attempts import Attempt
from metta.sweep.contracts.errors import StoreAway, StoreError, StoreFull
from metta.sweep.executors.protocol import LOG, REPORTS
from metta.sweep.executors.reports import Reports
from metta.sweep.search.attempts import attempt_here
from metta.sweep.stores.base import Workplace

T = TypeVar("T")

MACHINE = "machine"
"""File that says which machine runs a job whose folder the others do not see."""

AGAIN_S = 1.0
"""So long after a store was full or away it is tried again."""


class Place:
    """The folder of an attempt, here.

    Args:
        workplace: That of its sweep.
        attempt: The attempt as it was ordered, by addresses that hold everywhere.
    """

    def __init__(self, workplace: Workplace, attempt: Attempt) -> None:
        self._workplace = workplace
        self.attempt = attempt_here(attempt, workplace)
        self._kept, self._checkpoint = 0, attempt.resume_from

    def begin(self) -> bool:
        """Have the checkpoint here that it is to go on from.

        Returns:
            False when a job of it may not run here: another machine began it, whose folder is not seen here.

        Raises:
            StoreAway: When the store does not answer.
            StoreFull: When there is no room.
        """
        if not self._workplace.claim(f"{self.attempt.key}/{MACHINE}"):
            return False
        self._fetch(self.attempt.resume_from)
        return True

    def go_on(self) -> None:
        """Go on from what was reported before, on this machine or on another one.

        Raises:
            StoreAway: When the store does not answer.
            StoreFull: When there is no room.
        """
        self._fetch(str(Path(self.attempt.folder, REPORTS)))
        reports = Reports(self.attempt)
        reports.read(0.0)
        known: dict[str, object] = {} if reports.step is None else {"step": reports.step}
        if reports.checkpoint:
            known["resume_from"] = self._workplace.here(reports.checkpoint)
        self.attempt = self.attempt.model_copy(update=known)
        self._fetch(self.attempt.resume_from)

    def keep(self, reports: Reports) -> None:
        """Keep what is reported by now, and first the checkpoint that it names last.

        Raises:
            StoreAway: When the store does not answer.
            StoreFull: When there is no room.
            StoreError: When it cannot be kept for another reason.
        """
        if self._workplace.is_shared or reports.size <= self._kept:
            return
        checkpoint = reports.checkpoint
        if checkpoint and checkpoint != self._checkpoint:
            self._keep(checkpoint)
            self._checkpoint = checkpoint
        size = reports.size
        self._workplace.keep(f"{self.attempt.key}/{REPORTS}")
        self._kept = size

    async def keep_all(self, reports: Reports) -> None:
        """Keep what it leaves when it has ended, however long its store is full or away.

        Raises:
            StoreError: When it cannot be kept for another reason.
        """
        if not self._workplace.is_shared:
            await patiently(lambda: self.keep(reports))
            await patiently(lambda: self._keep(str(Path(self.attempt.folder, LOG))))

    def _keep(self, path: str) -> None:
        """Keep what lies here; what lies elsewhere is the user's own."""
        self._copied(path, self._workplace.keep)

    def _fetch(self, path: str | None) -> None:
        """Have here what was kept; what is missing is found missing by what is run, as everywhere else."""
        if path and not self._workplace.is_shared:
            self._copied(path, self._workplace.fetch)

    def _copied(self, path: str, copy: Callable[[str], None]) -> None:
        if (name := self._workplace.name_of(path)) is None:
            return
        try:
            copy(name)
        except (StoreAway, StoreFull):
            raise
        except StoreError as error:
            activity.logger.info("%s is not copied: %s", path, error)


async def patiently(work: Callable[[], T]) -> T:
    """What work gives in a thread, however long its store is full or away."""
    while True:
        try:
            return await asyncio.to_thread(work)
        except (StoreAway, StoreFull) as error:
            activity.logger.warning("it is tried again: %s", error)
            activity.heartbeat()
            await asyncio.sleep(AGAIN_S)
