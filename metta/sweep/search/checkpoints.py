"""Checkpoints: which are needed, and the end of those that are not."""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from threading import Thread

from metta.sweep.contracts.attempts import AttemptKey
from metta.sweep.contracts.errors import StoreError
from metta.sweep.contracts.records import TrialRecord
from metta.sweep.contracts.trials import CHECKPOINTS
from metta.sweep.stores.base import Workplace
from metta.sweep.stores.lineage import attempt_of, is_needed, last_of, left_behind, needed_by

log = logging.getLogger(__name__)

CLOSE_S = 2.0
"""What is not deleted by then, on a file system that hangs, is deleted by the next session."""


class Checkpoints:
    """Deletes checkpoints of a sweep that no trial refers to any more.

    What a trial needs is told in ``stores/lineage.py``. What it begins with may be another one's: it is
    kept while any of them refers to it. Deleted is only what the ledger does not name any more, and after
    a crash all of it is found again.

    Args:
        workplace: Where the sweep's attempts work.
    """

    def __init__(self, workplace: Workplace) -> None:
        self._workplace, self._folder = workplace, workplace.path
        self._needed: dict[int, str] = {}
        self._users: defaultdict[str, Counter[str]] = defaultdict(Counter)  # by attempt and checkpoint
        self._garbage: SimpleQueue[Iterable[str] | None] = SimpleQueue()
        self._collector: Thread | None = None

    def begin(self, records: Sequence[TrialRecord]) -> None:
        """Take the place of an earlier session: its attempts are over."""
        for record in records:
            self.refer(record)
        self._look_through(records)

    def refer(self, record: TrialRecord) -> None:
        """Note what a trial needs now, and delete what it needed before if nobody else does."""
        needs = needed_by(record)
        needed = self._needed.get(record.number)
        if needs == needed:
            return
        if needs is None:
            del self._needed[record.number]
        else:
            self._needed[record.number] = needs
            self._users[attempt_of(needs)][needs] += 1
        if needed is not None:
            self._release(needed, record.key)

    def outdate(self, checkpoint: str) -> None:
        """Delete one that was recorded, unless a trial refers to it."""
        if not is_needed(checkpoint, self._users):
            self._delete([checkpoint])

    def failed(self, attempt: AttemptKey) -> None:
        """Delete what an attempt has left that came to nothing, unless a trial refers to some of it."""
        if str(attempt) not in self._users:
            self._delete([f"{attempt}/{CHECKPOINTS}"])

    def end(self, records: Sequence[TrialRecord]) -> None:
        """Look once more for what an earlier session has left; its trials may have outlived it a little."""
        self._look_through(records)

    def close(self) -> None:
        """Wait until everything is deleted."""
        if self._collector:
            self._garbage.put(None)
            self._collector.join(CLOSE_S)

    def _look_through(self, records: Sequence[TrialRecord]) -> None:
        for record in records:
            for checkpoint in record.superseded:
                self.outdate(checkpoint)
        elsewhere = [(self._folder / named).resolve() for named in self._users.get("", ())]
        self._delete(left_behind(self._workplace, last_of(records), frozenset(self._users), elsewhere))

    def _release(self, checkpoint: str, running: AttemptKey) -> None:
        attempt = attempt_of(checkpoint)
        users = self._users[attempt]
        users[checkpoint] -= 1
        if users[checkpoint]:
            return
        del users[checkpoint]
        self.outdate(checkpoint)
        if not users:
            del self._users[attempt]
            if attempt and attempt != str(running):
                self._delete([f"{attempt}/{CHECKPOINTS}"])

    def _delete(self, names: Iterable[str]) -> None:
        # beside the search: a file system may take its time for many or large files
        if self._collector is None:
            # in the scope of here, so that its lines say which sweep they are about
            collect = partial(copy_context().run, self._collect)
            self._collector = Thread(target=collect, name="checkpoints", daemon=True)
            self._collector.start()
        self._garbage.put(names)

    def _collect(self) -> None:
        while (names := self._garbage.get()) is not None:
            try:
                for name in names:  # which may look through the store
                    self._workplace.drop(name)
            except StoreError as error:  # what is left lying is found by the next look
                log.info("needless checkpoints are left for now: %s", error)
