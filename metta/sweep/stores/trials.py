"""The trial table: a ledger folded into what is known of each trial."""

from collections import Counter
from collections.abc import Iterable
from heapq import nsmallest
from typing import assert_never

from metta.sweep.contracts.budgets import Control
from metta.sweep.contracts.chunks import Chunk
from metta.sweep.contracts.decisions import Decision, Finish, Resume, Retry, Start, Stop
from metta.sweep.contracts.events import (
    AttemptEnded,
    Completed,
    ControlChanged,
    Created,
    Event,
    Failed,
    Opened,
    Reported,
    SegmentEnded,
    Stopped,
    Tick,
)
from metta.sweep.contracts.failures import FREE, Failure
from metta.sweep.contracts.metrics import Objective
from metta.sweep.contracts.records import TrialRecord
from metta.sweep.contracts.sweeps import Counts, Progress, Row, SweepSpec, TrialStatus

TOP = 20
"""So many trials go into a progress report; all of them stand in the ledger."""


class TrialTable:
    """What a ledger says: one record a trial, and the state of the sweep around them.

    Events and decisions are applied in the order of the ledger; the same ledger gives the same table.
    The search decides on it, and clients read results, leaderboard and progress from it.
    """

    def __init__(self) -> None:
        self.spec: SweepSpec | None = None
        self.control = Control()
        self.epoch = 0
        self.records: list[TrialRecord] = []
        self.running: dict[int, TrialRecord] = {}
        self.objective: Objective | None = None
        self.finish: Finish | None = None
        self.elapsed_s = 0.0
        self.failed_since_open = 0
        self._at: float | None = None
        self._counts: Counter[TrialStatus] = Counter()
        self._versions: dict[str, int] = {}
        self._best: TrialRecord | None = None
        self._best_rank = (0.0, 0)

    def apply_chunk(self, chunk: Chunk) -> None:
        """Fold one chunk."""
        for event in chunk.events:
            self.apply(event)
        for decision in chunk.decisions:
            self.carry(decision)

    # --- events ---

    def is_news(self, event: Event) -> bool:
        """Whether an event says something that is not recorded yet."""
        match event:
            case Created(spec=spec):
                return spec != self.spec
            case Opened():
                return event.epoch > self.epoch
            case ControlChanged(control=control):
                return control.version > self._versions.get(control.run, -1)
            case Tick():
                return self._at is None or event.at > self._at
            case _:
                return self._is_news_of_attempt(event)

    def _is_news_of_attempt(self, event: Reported | AttemptEnded) -> bool:
        record = self.running.get(event.trial)
        if record is None or (event.segment, event.attempt) != (record.segment, record.attempt):
            return False
        if not isinstance(event, Reported):
            return True
        # an attempt that went on from an older checkpoint repeats steps that are recorded already
        return event.seq > record.seq and (record.step is None or event.step > record.step)

    def apply(self, event: Event) -> None:
        """Fold one event that is news."""
        if self._at is not None and not isinstance(event, Opened):
            # before `Opened` nothing worked on the sweep, and clocks may be set back
            self.elapsed_s += max(0.0, event.at - self._at)
        self._at = event.at
        match event:
            case Created(spec=spec):
                self.spec = spec
                self._resolve_objective({})
                self._find_best()  # a metric or goal said later ranks what was recorded before
            case Opened():
                self.epoch = event.epoch
                self._take_control(event.control)
                self.failed_since_open = 0
            case ControlChanged():
                self._take_control(event.control)
            case Tick():
                pass
            case Reported():
                self._report(self.records[event.trial], event)
            case SegmentEnded() | Completed() | Failed() | Stopped():
                self._end(self.records[event.trial], event)
            case _:
                assert_never(event)

    def _take_control(self, control: Control) -> None:
        self.control = control
        self._versions[control.run] = control.version
        self.finish = None

    def _report(self, record: TrialRecord, event: Reported) -> None:
        record.seq, record.step = event.seq, event.step
        record.history.append((event.step, event.metrics))
        record.checkpoint = event.checkpoint or record.checkpoint
        self._measure(record, event.metrics)

    def _measure(self, record: TrialRecord, metrics: dict[str, float]) -> None:
        record.metrics = {**record.metrics, **metrics}
        self._resolve_objective(record.metrics)
        self._consider(record)

    def _end(self, record: TrialRecord, event: AttemptEnded) -> None:
        record.seconds += event.seconds
        match event:
            case SegmentEnded():
                record.step = event.step
                record.checkpoint = event.checkpoint or record.checkpoint
                self._become(record, "paused")
            case Completed():
                self._measure(record, event.metrics or {})
                self._complete(record)
            case Failed(failure=failure):
                self._fail(record, failure)
            case Stopped():
                self._become(record, "stopped")

    def _complete(self, record: TrialRecord) -> None:
        if self.objective is None or self.objective.metric in record.metrics:
            self._become(record, "completed")
            return
        got = ", ".join(sorted(record.metrics))
        self._fail(
            record,
            Failure(
                kind="bad_metric",
                message=f"the trial gave {got}, but not {self.objective.metric!r}, the metric that counts",
            ),
        )

    def _fail(self, record: TrialRecord, failure: Failure) -> None:
        record.failure = failure
        if failure.kind in FREE:
            record.free += 1
        else:
            record.failed += 1
        self.failed_since_open += 1
        self._become(record, "failed")

    def _become(self, record: TrialRecord, status: TrialStatus) -> None:
        self._counts[record.status] -= 1
        self._counts[status] += 1
        record.status = status
        if status == "running":
            self.running[record.number] = record
            return
        self.running.pop(record.number, None)
        if status != "paused":
            record.history = []
        if status == "failed" and record is self._best:
            self._find_best()

    # --- decisions ---

    def carry(self, decision: Decision) -> None:
        """Fold one decision."""
        match decision:
            case Start():
                self._start(decision)
            case Resume():
                record = self.records[decision.trial]
                record.segment, record.attempt, record.seq = decision.segment, 1, -1
                record.until_step = decision.until_step
                record.resources = decision.resources or record.resources
                self._become(record, "running")
            case Retry():
                self._retry(self.records[decision.trial], decision.attempt)
            case Stop():
                self.records[decision.trial].stopping = True
            case Finish():
                self.finish = decision
            case _:
                assert_never(decision)

    def _start(self, start: Start) -> None:
        record = TrialRecord(
            number=start.trial,
            params=start.params,
            seed=start.seed,
            resources=start.resources,
            until_step=start.until_step,
            checkpoint=start.checkpoint_from,
        )
        self.records.append(record)
        self.running[record.number] = record
        self._counts["running"] += 1

    def _retry(self, record: TrialRecord, attempt: int) -> None:
        if record.status == "failed":
            self.failed_since_open -= 1  # it counts when its last attempt has failed
        record.attempt, record.seq = attempt, -1
        self._become(record, "running")

    # --- views ---

    @property
    def at(self) -> float | None:
        """Time of the last event, in seconds since 1970."""
        return self._at

    @property
    def completed(self) -> int:
        """How many trials were completed."""
        return self._counts["completed"]

    @property
    def failed(self) -> int:
        """How many trials failed for good."""
        return self._counts["failed"]

    @property
    def counts(self) -> Counts:
        """Trials by what became of them."""
        return Counts(started=len(self.records), **{str(k): n for k, n in self._counts.items()})

    @property
    def best(self) -> TrialRecord | None:
        """The best trial that has not failed, by its last value; the earlier one of equals."""
        return self._best

    def value(self, record: TrialRecord) -> float | None:
        """A trial's last value of the metric that counts, or None."""
        return record.metrics.get(self.objective.metric) if self.objective else None

    def leaderboard(self, limit: int | None = TOP) -> list[Row]:
        """The best trials, best first; the earlier one of equals."""
        return [
            Row(trial=r.number, value=value, step=r.step, params=r.params, status=r.status)
            for r in self._ranked(limit)
            if (value := self.value(r)) is not None
        ]

    def progress(self, top: int = TOP) -> Progress:
        """How far the sweep is."""
        return Progress(
            counts=self.counts,
            best=tuple(self.leaderboard(top)),
            elapsed_s=self.elapsed_s,
            metric=self.objective.metric if self.objective else None,
            goal=self.objective.goal if self.objective else None,
        )

    def commonest_failure(self) -> Failure | None:
        """The failure that most of the failed trials share, with the first one's traceback."""
        failures = [r.failure for r in self.records if r.status == "failed" and r.failure]
        counted = Counter((f.kind, f.message) for f in failures)
        common = counted.most_common(1)
        return next((f for f in failures if (f.kind, f.message) == common[0][0]), None) if common else None

    def _ranked(self, limit: int | None) -> Iterable[TrialRecord]:
        ranked = [r for r in self.records if r.status != "failed" and self.value(r) is not None]
        return nsmallest(len(ranked) if limit is None else limit, ranked, key=self._rank)

    def _rank(self, record: TrialRecord) -> tuple[float, int]:
        value = self.value(record)
        assert value is not None
        assert self.objective is not None
        return (-value if self.objective.goal == "maximize" else value, record.number)

    def _consider(self, record: TrialRecord) -> None:
        """Keep the best trial up to date without sorting all of them."""
        if self.value(record) is None:
            return
        rank = self._rank(record)
        if self._best is None or rank <= self._best_rank:
            self._best, self._best_rank = record, rank
        elif record is self._best:  # its value became worse
            self._find_best()

    def _find_best(self) -> None:
        self._best = next(iter(self._ranked(1)), None)
        if self._best:
            self._best_rank = self._rank(self._best)

    def _resolve_objective(self, metrics: dict[str, float]) -> None:
        """Fix which metric counts as soon as that is known."""
        if self.objective is None and self.spec is not None:
            self.objective = Objective.resolve(self.spec.metric, self.spec.goal, metrics)
