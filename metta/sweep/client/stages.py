"""Stages: what an outcome log tells of an experiment by now."""

from collections import Counter, deque
from collections.abc import Iterator
from time import time

from metta.sweep.contracts.experiments import ExperimentState, ExperimentStatus, Row
from metta.sweep.contracts.outcomes import AttemptFailed, Began, Entry, Finished, StageEnded
from metta.sweep.contracts.plans import At, StageStatus
from metta.sweep.contracts.rows import row_of, row_of_failure
from metta.sweep.contracts.wording import duration_text
from metta.sweep.stores.base import OutcomeLog

LATEST = 15
"""So many of the stages that ended last are shown while an experiment runs."""


class Stages:
    """How far an experiment is; each update reads on from where the last one ended.

    Args:
        log: Its outcome log.

    Attributes:
        latest: Rows of the stages that ended last.
        counts: How many stages ended how.
        at: When something was recorded last, in seconds since 1970.
    """

    def __init__(self, log: OutcomeLog) -> None:
        self.began: Began | None = None
        self.finished: Finished | None = None
        self.latest = deque[Row](maxlen=LATEST)
        self.counts = Counter[str]()
        self.at = 0.0
        self._failing: dict[str, Row] = {}
        self._ended: dict[At, StageStatus] = {}
        self._log = log
        self._last = -1

    def update(self) -> list[Row]:
        """Read on; rows of what has happened to stages meanwhile."""
        rows = []
        for line in self._log.read(self._last):
            rows += [row for entry in line.entries if (row := self._row(entry))]
            self._last = line.n
        return rows

    def _row(self, entry: Entry) -> Row | None:
        self.at = entry.recorded
        match entry:
            case Began():
                self.began, self.finished = entry, None
                self._failing.clear()
                self._forget(entry)
            case Finished():
                self.finished = entry
            case AttemptFailed():
                row = self._failing[entry.failure.stage] = row_of_failure(entry.failure)
                return row
            case StageEnded():
                row = row_of(entry.outcome, entry.seconds)
                self._failing.pop(row.stage, None)
                self._ended[entry.at] = entry.outcome.status
                self.latest.append(row)
                self.counts[row.status] += 1
                return row
        return None

    def _forget(self, began: Began) -> None:
        """What it does not go on with is told no more."""
        forgotten = [at for at in self._ended if began.forgets(at)]
        self.counts -= Counter(self._ended.pop(at) for at in forgotten)
        names = set(map(str, forgotten))
        for row in [row for row in self.latest if row.stage in names]:
            self.latest.remove(row)

    @property
    def rows(self) -> tuple[Row, ...]:
        """The latest stages that ended, the newest last, and those that failed and have not ended."""
        return (*self.latest, *self._failing.values())

    @property
    def state(self) -> ExperimentState | None:
        """What is recorded of how it ended; None before that."""
        if self.finished is None:
            return None
        return "failed" if self.finished.reason == "failed" else "finished"

    @property
    def seconds(self) -> float:
        """Time since it began, up to its end."""
        if self.began is None:
            return 0.0
        return max(0.0, (self.finished.recorded if self.finished else time()) - self.began.recorded)

    def status(self, state: ExperimentState) -> ExperimentStatus:
        """Where it stands, when that is its state."""
        finished = self.finished
        reason = (finished.message or finished.reason) if finished else ""
        return ExperimentStatus(state=state, ended=self.counts.total(), rows=self.rows, reason=reason)

    def summary(self) -> str:
        """How far it is in one line."""
        counts = ", ".join(f"{n} {status}" for status, n in self.counts.items() if status != "done")
        ended = self.counts.total()
        stages = f"{ended} stage{'' if ended == 1 else 's'}"
        return f"{stages} in {duration_text(self.seconds)}" + (f": {counts}" if counts else "")


def stages_of(log: OutcomeLog) -> Stages:
    """What a log says by now."""
    stages = Stages(log)
    stages.update()
    return stages


def last_entries(log: OutcomeLog) -> Iterator[StageEnded | AttemptFailed]:
    """How all stages ended, in that order, and how those failed that did so for good."""
    ended: dict[At, StageEnded] = {}
    failing: dict[At, AttemptFailed] = {}
    for entry in log.entries():
        match entry:
            case Began():
                failing.clear()
                ended = {at: end for at, end in ended.items() if not entry.forgets(at)}
            case AttemptFailed():
                failing[entry.at] = entry
            case StageEnded():
                failing.pop(entry.at, None)
                ended[entry.at] = entry
    yield from ended.values()
    yield from failing.values()


def all_rows(log: OutcomeLog) -> Iterator[Row]:
    """Rows of all stages in the order in which they ended, and of those that failed for good."""
    for entry in last_entries(log):
        if isinstance(entry, StageEnded):
            yield row_of(entry.outcome, entry.seconds)
        else:
            yield row_of_failure(entry.failure)
