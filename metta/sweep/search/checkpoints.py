"""Checkpoints: which are needed, and the end of those that are not."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePath
from queue import SimpleQueue
from threading import Thread

from metta.sweep.contracts.attempts import AttemptKey
from metta.sweep.contracts.records import TrialRecord
from metta.sweep.contracts.trials import CHECKPOINTS
from metta.sweep.stores.base import Workplace

CLOSE_S = 2.0
"""What is not deleted by then, on a file system that hangs, is deleted by the next session."""


class Checkpoints:
    """Deletes checkpoints of a sweep that no trial refers to any more.

    A trial needs the last one that is recorded of it, so that it can go on from there, or because that is
    the trained model; a failed trial needs none. What a trial begins with may be another one's: it is
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
        needs = record.checkpoint if record.status != "failed" else None
        needed = self._needed.get(record.number)
        if needs == needed:
            return
        if needs is None:
            del self._needed[record.number]
        else:
            self._needed[record.number] = needs
            self._users[_attempt_of(needs)][needs] += 1
        if needed is not None:
            self._release(needed, record.key)

    def outdate(self, checkpoint: str) -> None:
        """Delete one that was recorded, unless a trial refers to it."""
        if not self._is_needed(checkpoint):
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
        last = [(record.key, record.status == "failed") for record in records]
        elsewhere = [(self._folder / named).resolve() for named in self._users.get("", ())]
        self._delete(self._left_behind(last, frozenset(self._users), elsewhere))

    def _is_needed(self, checkpoint: str) -> bool:
        """Whether a trial refers to it or to something that shares files with it, or it is the user's own."""
        attempt = _attempt_of(checkpoint)
        users = self._users.get(attempt, ())
        return not attempt or any(_share_files(PurePath(checkpoint), PurePath(user)) for user in users)

    def _release(self, checkpoint: str, running: AttemptKey) -> None:
        attempt = _attempt_of(checkpoint)
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

    def _left_behind(
        self, last: Sequence[tuple[AttemptKey, bool]], in_use: frozenset[str], elsewhere: Sequence[Path]
    ) -> Iterator[str]:
        """Folders of attempts that came to nothing, or whose trial has gone on in another one.

        Args:
            last: The last attempt of each trial, and whether the trial has failed.
            in_use: Attempts of which a trial needs a checkpoint.
            elsewhere: Checkpoints that trials need and that are not named by an attempt. Links may lead
                there and back.
        """
        for attempt in self._workplace.attempts(CHECKPOINTS):
            folder = self._folder / attempt / CHECKPOINTS
            with suppress(ValueError, IndexError):  # somebody else's
                key = _key_of(attempt)
                its_last, has_failed = last[key.trial]
                is_left = key < its_last or (key == its_last and has_failed)
                if is_left and attempt not in in_use and not _is_among(folder.resolve(), elsewhere):
                    yield f"{attempt}/{CHECKPOINTS}"

    def _delete(self, names: Iterable[str]) -> None:
        # beside the search: a file system may take its time for many or large files
        if self._collector is None:
            self._collector = Thread(target=self._collect, name="checkpoints", daemon=True)
            self._collector.start()
        self._garbage.put(names)

    def _collect(self) -> None:
        while (names := self._garbage.get()) is not None:
            for name in names:
                self._workplace.drop(name)


def _attempt_of(checkpoint: str) -> str:
    """The attempt in whose folder a checkpoint lies; empty when it lies elsewhere, and is the user's own."""
    parts = PurePath(checkpoint).parts
    return "/".join(parts[:4]) if parts[:1] == ("trials",) and len(parts) > 4 else ""


def _key_of(attempt: str) -> AttemptKey:
    """The key that is written like this.

    >>> _key_of("trials/7/seg-0/try-2")
    AttemptKey(trial=7, segment=0, attempt=2)
    """
    _, trial, segment, attempt = attempt.split("/")
    return AttemptKey(int(trial), int(segment.removeprefix("seg-")), int(attempt.removeprefix("try-")))


def _is_among(folder: Path, checkpoints: Iterable[Path]) -> bool:
    return any(_share_files(folder, checkpoint) for checkpoint in checkpoints)


def _share_files(one: PurePath, other: PurePath) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)
