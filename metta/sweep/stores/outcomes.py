"""The outcome log on a file system, and what is known from it."""

from collections import Counter
from threading import Lock
from typing import TypeAlias
from uuid import uuid4

from pydantic import TypeAdapter

from metta.sweep.contracts.errors import ChunkTaken, StageFailed
from metta.sweep.contracts.outcomes import (
    AttemptFailed,
    Began,
    Decided,
    Entry,
    Finished,
    Line,
    Merged,
    NestedEnded,
    StageEnded,
)
from metta.sweep.contracts.plans import At, StageFailure
from metta.sweep.stores.base import OutcomeLog
from metta.sweep.stores.ledgers import FileLog

Known: TypeAlias = StageEnded | Decided | Merged
"""What is known of a step for good."""

_known = TypeAdapter[Known](Known)


class FileOutcomeLog(FileLog[Line], OutcomeLog):
    """The outcome log of an experiment, in a file."""

    model = Line


class Outcomes:
    """What is recorded of an experiment, for those who write to it; several may do so at the same time.

    Args:
        log: Its log.
    """

    def __init__(self, log: OutcomeLog) -> None:
        self._log = log
        self._writer = uuid4().hex
        self._lines = 0
        self._lock = Lock()
        self.began: Began | None = None
        self.finished: Finished | None = None
        self._known: dict[At, bytes] = {}  # as JSON: objects would take ten times the memory
        self._failures: dict[At, StageFailure] = {}
        self._forgetting: list[Began] = []
        self._begun = set[str]()
        self._nested: dict[tuple[At, str], NestedEnded] = {}
        self.counts = Counter[str]()

    def refresh(self) -> None:
        """Learn what others have recorded.

        Raises:
            StoreError: When the log cannot be read, or is damaged.
        """
        with self._lock:
            self._refresh()

    @property
    def is_near(self) -> bool:
        """Whether a look at the log takes next to no time."""
        return self._log.is_near

    def has_news(self) -> bool:
        """Whether others may have recorded something; costs next to nothing when the log is near."""
        return self._log.has_more()

    def of(self, at: At) -> Known | None:
        """What is known of a step for good; None when nothing is."""
        found = self._known.get(at)
        return None if found is None else _known.validate_json(found)

    def runs_of(self, path: str) -> list[At]:
        """Runs of a stage that are recorded, also those that failed, in their order."""
        return [at for at in {**self._known, **self._failures} if at.path == path]

    def has_begun(self, run: str) -> bool:
        """Whether a Temporal run was recorded as a beginning."""
        return run in self._begun

    def times_forgotten(self, at: At) -> int:
        """How often a step was forgotten."""
        return sum(began.forgets(at) for began in self._forgetting)

    def steps(self) -> list[At]:
        """All steps of which is known for good how they ended, in the order in which that was recorded."""
        return list(self._known)

    def failure(self, at: At) -> StageFailure | None:
        """The last failure of a stage since the experiment began, or was begun again."""
        return self._failures.get(at)

    @property
    def fatal(self) -> StageFailure | None:
        """The failure that the experiment has ended with; None when no stage of its own is to blame."""
        if self.finished is None or self.finished.reason != "failed":
            return None
        message = self.finished.message
        return next((f for f in self._failures.values() if str(StageFailed(f)) == message), None)

    def nested(self, at: At, key: str) -> NestedEnded | None:
        """What a nested run of a stage has given; None when it has not."""
        return self._nested.get((at, key))

    def add(self, *entries: Entry) -> None:
        """Record entries durably; of two that say what a step gave, the first one holds.

        Raises:
            StoreFull: When there is no room; it can be tried again.
            StoreError: When it cannot be written for another reason.
        """
        with self._lock:
            while True:
                self._refresh()
                news = tuple(e for e in entries if not isinstance(e, Known) or e.at not in self._known)
                if not news:
                    return
                line = Line(n=self._lines, writer=self._writer, entries=news)
                try:
                    self._log.commit(line)
                except ChunkTaken:  # somebody else was faster: behind him
                    continue
                self._take(line)
                return

    def close(self) -> None:
        """Give back what is held open."""
        self._log.close()

    def _refresh(self) -> None:
        for line in self._log.read(self._lines - 1):
            self._take(line)

    def _take(self, line: Line) -> None:
        self._lines = line.n + 1
        for entry in line.entries:
            self._fold(entry)

    def _fold(self, entry: Entry) -> None:
        match entry:
            case Began():
                self._begin(entry)
            case AttemptFailed():
                self._failures[entry.at] = entry.failure
            case Finished():
                self.finished = entry
            case NestedEnded():
                self._nested[entry.at, entry.key] = entry
            case StageEnded() | Decided() | Merged():
                self._known.setdefault(entry.at, _known.dump_json(entry))
                if isinstance(entry, StageEnded):
                    self.counts[entry.outcome.status] += 1

    def _begin(self, began: Began) -> None:
        self.began, self.finished = began, None
        self._begun.add(began.run)
        self._failures.clear()
        if not (began.anew or began.forgotten):
            return
        self._forgetting.append(began)
        for at in [at for at in self._known if began.forgets(at)]:
            found = _known.validate_json(self._known.pop(at))
            if isinstance(found, StageEnded):
                self.counts[found.outcome.status] -= 1
        self._nested = {run: end for run, end in self._nested.items() if not began.forgets(end.at)}
