"""Keeping: what trials leave is kept before it is recorded, beside the search."""

import logging
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from threading import Event as Flag
from typing import TypeAlias

from metta.sweep.contracts.attempts import Attempt, AttemptKey
from metta.sweep.contracts.errors import StoreAway, StoreError, StoreFull
from metta.sweep.contracts.events import Reported, SegmentEnded, TrialEvent
from metta.sweep.search.attempts import portable
from metta.sweep.stores.base import Workplace
from metta.sweep.telemetry.scopes import scope

log = logging.getLogger(__name__)

Waiting: TypeAlias = deque[tuple[bool, "Future[TrialEvent]"]]
"""Events of a trial, and whether each is its end."""

AT_ONCE = 4
"""Checkpoints that are on their way at the same time."""

AGAIN_S = 1.0
"""So long after a store was full or away it is tried again."""


class Keeping:
    """Holds back events until their checkpoints are kept; where the store is a folder, nothing is to be done.

    Args:
        workplace: Where attempts work.
        wake: Is called, from any thread, when ``kept`` has more to give.
    """

    def __init__(self, workplace: Workplace, wake: Callable[[], None]) -> None:
        self._workplace, self._wake = workplace, wake
        self._waiting: dict[int, Waiting] = {}  # by trial, in the order in which they happened
        self._threads = ThreadPoolExecutor(AT_ONCE, "keeping")
        self._closed = Flag()
        self.note = ""

    def kept(self, told: Iterable[TrialEvent]) -> list[TrialEvent]:
        """What can be recorded by now, checkpoints named relative to the workplace.

        Args:
            told: What happened since; what is held back comes later.
        """
        events = [portable(event, self._workplace) for event in told]
        if self._workplace.is_shared:
            return events
        for event in events:
            is_end = not isinstance(event, Reported)
            self._waiting.setdefault(event.trial, deque()).append((is_end, self._promised(event)))
        ready = [future.result() for waiting in self._waiting.values() for future in _done(waiting)]
        self._waiting = {trial: waiting for trial, waiting in self._waiting.items() if waiting}
        return ready

    @property
    def ends(self) -> int:
        """So many trials have ended of which that is held back: their slots are not free yet."""
        return sum(waiting[-1][0] for waiting in self._waiting.values())

    def fetch(self, attempt: Attempt) -> None:
        """Have the checkpoint here that an attempt is to go on from.

        One that is missing is found missing by the objective, as everywhere else.

        Raises:
            StoreAway: When the store does not answer.
            StoreFull: When there is no room.
        """
        if self._workplace.is_shared or attempt.resume_from is None:
            return
        if (name := self._workplace.name_of(attempt.resume_from)) is None:
            return
        try:
            self._workplace.fetch(name)
        except (StoreAway, StoreFull):
            raise
        except StoreError as error:
            with scope(attempt.key._asdict()):
                log.warning("trial %d cannot go on from its checkpoint: %s", attempt.trial, error)

    def close(self) -> None:
        """Let go of what is on its way: the next session finds it unrecorded."""
        self._closed.set()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _promised(self, event: TrialEvent) -> "Future[TrialEvent]":
        if isinstance(event, Reported | SegmentEnded) and event.checkpoint:
            promise = self._threads.submit(copy_context().run, self._keep, event, event.checkpoint)
            promise.add_done_callback(lambda _: self._wake())
        else:
            promise = Future()
            promise.set_result(event)
        return promise

    def _keep(self, event: TrialEvent, checkpoint: str) -> TrialEvent:
        if Path(checkpoint).is_absolute():
            return event  # it lies elsewhere, and is the user's own
        while not self._closed.is_set():
            try:
                self._workplace.keep(checkpoint)
            except (StoreAway, StoreFull) as error:
                self.note = str(error)
                self._closed.wait(AGAIN_S)
            except StoreError as error:
                with scope(AttemptKey(event.trial, event.segment, event.attempt)._asdict()):
                    log.warning("a checkpoint of trial %d is not kept: %s", event.trial, error)
                # the one before is needed as long as no other one is recorded
                return event.model_copy(update={"checkpoint": None})
            else:
                self.note = ""
                break
        return event


def _done(waiting: Waiting) -> Iterable["Future[TrialEvent]"]:
    while waiting and waiting[0][1].done():
        yield waiting.popleft()[1]
