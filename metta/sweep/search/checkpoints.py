"""Checkpoints: which are needed, and the end of those that are not."""

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PurePath
from queue import SimpleQueue
from shutil import rmtree
from threading import Thread

from metta.sweep.contracts.attempts import AttemptKey
from metta.sweep.contracts.records import TrialRecord
from metta.sweep.contracts.trials import CHECKPOINTS

CLOSE_S = 5.0
"""What is not deleted by then, on a file system that hangs, is deleted by the next session."""


class Checkpoints:
    """Deletes checkpoints below a sweep's folder that no trial refers to any more.

    A trial needs the last one that is recorded of it, so that it can go on from there, or because that is
    the trained model; a failed trial needs none. What a trial begins with may be another one's: it is
    kept while any of them refers to it. Deleted is only what the ledger does not name any more, and after
    a crash all of it is found again.

    Args:
        folder: The sweep's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._needed: dict[int, str] = {}
        self._users: Counter[str] = Counter()
        self._in_use: Counter[str] = Counter()
        self._garbage: SimpleQueue[Path | None] = SimpleQueue()
        self._collector: Thread | None = None

    def begin(self, records: Iterable[TrialRecord]) -> None:
        """Take the place of an earlier session: its attempts are over."""
        for record in records:
            self.refer(record)
        for folder in self._folder.glob(f"trials/*/seg-*/try-*/{CHECKPOINTS}"):
            if not self._in_use[folder.parent.relative_to(self._folder).as_posix()]:
                self._delete(folder)

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
            self._count(needs, +1)
        if needed is not None:
            self._count(needed, -1)
            self._release(needed, needs, record.key)

    def end(self, attempt: AttemptKey) -> None:
        """Delete what an attempt that is over has left, unless a trial refers to something in there."""
        if not self._in_use[str(attempt)] and (left := self._folder / str(attempt) / CHECKPOINTS).exists():
            self._delete(left)

    def close(self) -> None:
        """Wait until everything is deleted."""
        if self._collector:
            self._garbage.put(None)
            self._collector.join(CLOSE_S)

    def _count(self, checkpoint: str, change: int) -> None:
        self._users[checkpoint] += change
        self._in_use[_attempt_of(checkpoint)] += change

    def _release(self, checkpoint: str, successor: str | None, running: AttemptKey) -> None:
        attempt = _attempt_of(checkpoint)
        if self._users[checkpoint] or not attempt:  # what lies elsewhere is the user's own
            return
        if successor is None or not _share_files(PurePath(checkpoint), PurePath(successor)):
            self._delete(self._folder / checkpoint)
        if not self._in_use[attempt] and attempt != str(running):
            self._delete(self._folder / attempt / CHECKPOINTS)

    def _delete(self, path: Path) -> None:
        # beside the search: a file system may take its time for large files
        if self._collector is None:
            self._collector = Thread(target=self._collect, name="checkpoints", daemon=True)
            self._collector.start()
        self._garbage.put(path)

    def _collect(self) -> None:
        while path := self._garbage.get():
            if path.is_dir() and not path.is_symlink():
                rmtree(path, ignore_errors=True)  # what cannot be deleted is left lying
            else:
                with suppress(OSError):
                    path.unlink()


def _attempt_of(checkpoint: str) -> str:
    """The attempt in whose folder a checkpoint lies; empty when it lies elsewhere."""
    parts = PurePath(checkpoint).parts
    return "/".join(parts[:4]) if parts[0] == "trials" and len(parts) > 4 else ""


def _share_files(one: PurePath, other: PurePath) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)
