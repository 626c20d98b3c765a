"""Places: where an attempt works on this machine, and what of it is kept for the others."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from temporalio import activity

from metta.sweep.contracts.attempts import Attempt
from metta.sweep.contracts.errors import StoreAway, StoreError, StoreFull
from metta.sweep.contracts.shelves import part_of
from metta.sweep.executors.protocol import LOG, REPORTS
from metta.sweep.executors.reports import Reports
from metta.sweep.search.attempts import attempt_here
from metta.sweep.stores.base import Workplace

T = TypeVar("T")

MACHINE = "machine"
"""File that says which machine runs a job whose folder the others do not see."""

TURN = "turn"
"""File that says who runs a Python objective by now."""

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
        self._kept, self._checkpoint, self._turn = 0, attempt.resume_from, ""

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
        self._fetched(self.attempt.resume_from)
        return True

    def go_on(self) -> None:
        """Take the attempt over, and go on from what was reported before, on this machine or on another one.

        Raises:
            StoreAway: When the store does not answer.
            StoreFull: When there is no room.
        """
        if not self._workplace.is_shared:
            self._take_over()
        reports = Reports(self.attempt)
        events = reports.read(0.0)
        named = [event.checkpoint for event in reversed(events) if event.checkpoint]
        # the last one may be gone: it could not be kept
        last = next(filter(self._fetched, [*named, self.attempt.resume_from]), self.attempt.resume_from)
        known: dict[str, object] = {"resume_from": last and self._workplace.here(last)}
        if reports.step is not None:
            known["step"] = reports.step
        self.attempt = self.attempt.model_copy(update=known)

    def _take_over(self) -> None:
        """Whoever ran it before keeps nothing any more, and what it kept is here."""
        self._turn = uuid4().hex
        self._workplace.put(f"{self.attempt.key}/{TURN}", self._turn.encode())
        reports = f"{self.attempt.key}/{REPORTS}"
        if self._workplace.has(reports):
            self._workplace.fetch(reports, again=True)

    def keep(self, reports: Reports) -> None:
        """Keep what is reported by now, and first the checkpoint that it names last.

        Raises:
            StoreAway: When the store does not answer.
            StoreFull: When there is no room.
            StoreError: When it cannot be kept for another reason, or another worker runs the attempt.
        """
        if self._workplace.is_shared or reports.size <= self._kept:
            return
        # others may be writing on
        size, checkpoint = reports.size, reports.checkpoint
        self._check_turn()
        if checkpoint and checkpoint != self._checkpoint:
            self._keep(checkpoint)
            self._checkpoint = checkpoint
        data = part_of(Path(self.attempt.folder, REPORTS), 0, size)
        self._workplace.put(f"{self.attempt.key}/{REPORTS}", data)
        self._kept = size

    def _check_turn(self) -> None:
        if not self._turn:  # a machine claims a job
            return
        if self._workplace.part(f"{self.attempt.key}/{TURN}", 0, None) != self._turn.encode():
            raise StoreError(f"another worker goes on with {self.attempt.key}")

    async def keep_all(self, reports: Reports) -> None:
        """Keep what it leaves when it has ended, however long its store is full or away.

        Raises:
            StoreError: When it cannot be kept for another reason.
        """
        if not self._workplace.is_shared:
            await patiently(lambda: self.keep(reports))
            await patiently(lambda: self._keep(str(Path(self.attempt.folder, LOG))))

    def _keep(self, path: str) -> bool:
        """Keep what lies here; what lies elsewhere is the user's own."""
        return self._copied(path, self._workplace.keep)

    def _fetched(self, path: str | None) -> bool:
        """Have here what was kept; what is missing is found missing by what is run, as everywhere else."""
        return path is not None and (self._workplace.is_shared or self._copied(path, self._workplace.fetch))

    def _copied(self, path: str, copy: Callable[[str], None]) -> bool:
        """Whether it could be copied, or lies where nothing has to be."""
        if (name := self._workplace.name_of(path)) is None:
            return True
        try:
            copy(name)
        except (StoreAway, StoreFull):
            raise
        except StoreError as error:
            activity.logger.warning("%s is not copied: %s", path, error)
            return False
        return True


async def patiently(work: Callable[[], T]) -> T:
    """What work gives in a thread, however long it takes, and its store is full or away."""
    while True:
        task = asyncio.create_task(asyncio.to_thread(work))
        while not (await asyncio.wait({task}, timeout=AGAIN_S))[0]:
            activity.heartbeat()
        try:
            return task.result()
        except (StoreAway, StoreFull) as error:
            activity.logger.warning("it is tried again: %s", error)
            activity.heartbeat()
            await asyncio.sleep(AGAIN_S)
