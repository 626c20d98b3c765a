"""The trial table: a ledger folded into what is known of each trial."""

from collections import Counter
from collections.abc import Iterable
from heapq import merge
from itertools import islice
from typing import assert_never

from metta.sweep.contracts.budgets import Control
from metta.sweep.contracts.chunks import Chunk
from metta.sweep.contracts.decisions import Decision, Finish, Interrupt, Resume, Retry, Start, Stop
from metta.sweep.contracts.events import (
    AttemptEnded,
    Completed,
    ControlChanged,
    Created,
    Event,
    Failed,
    Known,
    Opened,
    Reported,
    SegmentEnded,
    Stopped,
    Tick,
    TrialEvent,
)
from metta.sweep.contracts.failures import FREE, Failure
from metta.sweep.contracts.metrics import BARE, Objective
from metta.sweep.contracts.records import SUPERSEDED, TrialRecord
from metta.sweep.contracts.sweeps import Counts, Progress, Row, SweepSpec, TrialStatus
from metta.sweep.contracts.wording import left_out_text, restarted_text
from metta.sweep.stores.rankings import Failures, Rank, Ranking

TOP = 20
"""So many trials go into a progress report; all of them stand in the ledger."""


class TrialTable:
    """What a ledger says: one record a trial, and the state of the sweep around them.

    Events and decisions are applied in the order of the ledger; the same ledger gives the same table.
    The search decides on it, and clients read results, leaderboard and progress from it.

    Args:
        chunks: What is folded at once.
    """

    def __init__(self, chunks: Iterable[Chunk] = ()) -> None:
        self.spec: SweepSpec | None = None
        self.control = Control()
        self.epoch = 0
        self.chain = ""
        self.records: list[TrialRecord] = []
        self.roots = 0
        self.known: list[Known] = []
        self.restarted = 0
        self.running: dict[int, TrialRecord] = {}
        self.objective: Objective | None = None
        self.finish: Finish | None = None
        self.elapsed_s = 0.0
        self.epochs = 0
        self.cost = 0.0
        self.failed_in_run = 0
        self.succeeded = False
        self._at: float | None = None
        self._counts: Counter[TrialStatus] = Counter()
        self._failed_attempts: Counter[str] = Counter()
        self._retried = 0
        self._versions: dict[str, int] = {}
        self.ranking, self.failures = Ranking(), Failures()
        for chunk in chunks:
            self.apply_chunk(chunk)

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
            case Known():
                return self.epoch == 0  # what was known when the sweep began
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
        if self._at is not None and not isinstance(event, Created | Opened) and not self.control.pause:
            # before a session opens nothing works on the sweep, and clocks may be set back
            self.elapsed_s += max(0.0, event.at - self._at)
        self._at = event.at
        match event:
            case Created(spec=spec):
                self._define(spec)
            case Known():
                self.known.append(event)
                self._resolve({} if event.left_out else event.metrics)
            case Opened():
                self.epoch, self.chain = event.epoch, event.chain
                if event.control.run not in self._versions:  # somebody started the sweep, or continues it
                    self.failed_in_run = 0
                self._take_control(event.control)
            case ControlChanged():
                self._take_control(event.control)
            case Tick():
                pass
            case Reported() | SegmentEnded() | Completed() | Failed() | Stopped():
                self._spend(self.records[event.trial], event)
            case _:
                assert_never(event)

    def _define(self, spec: SweepSpec) -> None:
        """A metric or goal that is said later ranks what was recorded before."""
        self.spec = spec
        for record in self.records:
            record.metrics = self._named(record.metrics)
        known = (self.objective.metric,) if self.objective else self._first_metrics()
        self.objective = Objective.resolve(spec.metric, spec.goal, known)
        self.ranking = Ranking(rank for r in self.records if not r.running and (rank := self.rank(r)))

    def _take_control(self, control: Control) -> None:
        """What people want now; revokes the end."""
        known = self._versions.get(control.run)
        if known is not None and control.version <= known:
            return  # a session opened again may know less than the one before was told
        self._versions[control.run] = control.version
        self.control, self.finish = control, None

    def _spend(self, record: TrialRecord, event: TrialEvent) -> None:
        """Fold what a trial did, and count what it took."""
        step, cost = record.step or 0, record.cost
        if isinstance(event, Reported):
            self._report(record, event)
        else:
            self._end(record, event)
        self.epochs += (record.step or 0) - step
        self.cost += record.cost - cost

    def _report(self, record: TrialRecord, event: Reported) -> None:
        record.seq, record.step, record.free = event.seq, event.step, 0
        record.history.append((event.step, event.metrics))
        if event.checkpoint and record.checkpoint and event.checkpoint != record.checkpoint:
            record.superseded = (*record.superseded, record.checkpoint)[-SUPERSEDED:]
        record.checkpoint = event.checkpoint or record.checkpoint
        self._measure(record, event.metrics)

    def _named(self, metrics: dict[str, float]) -> dict[str, float]:
        """A bare number is the metric that the definition names."""
        metric = self.spec.metric if self.spec else None
        return {metric: metrics[BARE]} if metric and list(metrics) == [BARE] else metrics

    def _measure(self, record: TrialRecord, metrics: dict[str, float]) -> None:
        record.metrics = {**record.metrics, **metrics}
        self._resolve(record.metrics)

    def _resolve(self, metrics: dict[str, float]) -> None:
        """Find out by somebody's metrics which one counts, as long as that is not known."""
        if self.objective is None and self.spec is not None:
            self.objective = Objective.resolve(self.spec.metric, self.spec.goal, metrics)

    def _end(self, record: TrialRecord, event: AttemptEnded) -> None:
        record.seconds += event.seconds
        match event:
            case SegmentEnded():
                record.step = event.step
                record.checkpoint = event.checkpoint or record.checkpoint
                if record.last:
                    self._complete(record)
                else:
                    self._become(record, "stopped" if record.stopping else "paused")
            case Completed():
                self._measure(record, self._named(event.metrics or {}))
                self._complete(record)
            case Failed(failure=failure):
                self._fail(record, failure)
            case Stopped():
                goes_on = record.interrupted and not record.stopping
                self._become(record, "paused" if goes_on else "stopped")

    def _complete(self, record: TrialRecord) -> None:
        if shortcoming := record.shortcoming(self.objective):
            self._fail(record, shortcoming)
        else:
            self._become(record, "completed")

    def _fail(self, record: TrialRecord, failure: Failure) -> None:
        record.failure = failure
        self._failed_attempts[failure.kind] += 1
        if failure.kind in FREE:
            record.free += 1
        else:
            record.failed += 1
        self.failed_in_run += 1
        self._become(record, "failed")

    def _become(self, record: TrialRecord, status: TrialStatus) -> None:
        self._counts[record.status] -= 1
        self._counts[status] += 1
        if record.status == "failed" and record.failure:
            self.failures.drop(record.failure)
        record.status = status
        if status == "running":
            self.running[record.number] = record
            return
        self.running.pop(record.number, None)
        if status != "paused":
            record.history = []
        if status == "failed" and record.failure:
            self.failures.add(record.failure)
        else:
            record.failure = None
            # a trial that is stopped because nothing succeeds is no success
            if record.metrics and (status == "completed" or not self.has_only_failed):
                self.succeeded = True
            if rank := self.rank(record):
                self.ranking.add(rank)

    # --- decisions ---

    def carry(self, decision: Decision) -> None:
        """Fold one decision."""
        match decision:
            case Start():
                self._start(decision)
            case Resume():
                record = self.records[decision.trial]
                self.restarted += record.checkpoint is None
                record.segment, record.attempt, record.seq = decision.segment, 1, -1
                record.until_step, record.last = decision.until_step, decision.last
                record.resources = decision.resources or record.resources
                self._become(record, "running")
            case Interrupt():
                self.records[decision.trial].interrupted = True
            case Retry():
                self._retry(self.records[decision.trial], decision)
            case Stop():
                self._stop(self.records[decision.trial])
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
            last=start.last,
            parent=start.parent,
            checkpoint=start.checkpoint_from,
        )
        self.records.append(record)
        self.roots += start.parent is None
        self.running[record.number] = record
        self._counts["running"] += 1

    def _stop(self, record: TrialRecord) -> None:
        record.stopping = True
        if record.status == "paused":  # nothing of it runs that could come to an end
            self._become(record, "stopped")

    def _retry(self, record: TrialRecord, retry: Retry) -> None:
        if record.status == "failed":
            self.failed_in_run -= 1  # it counts when its last attempt has failed
            self._retried += 1
        record.attempt, record.seq, record.interrupted = retry.attempt, -1, False
        record.resources = retry.resources or record.resources
        self._become(record, "running")

    # --- views ---

    @property
    def at(self) -> float | None:
        """Time of the last event, in seconds since 1970."""
        return self._at

    @property
    def failed(self) -> int:
        """How many trials failed for good."""
        return self._counts["failed"]

    @property
    def counts(self) -> Counts:
        """Trials by what became of them, as ``status_of`` tells it."""
        counts = Counter({str(status): n for status, n in self._counts.items()})
        waiting = sum(self.status_of(record) == "paused" for record in self.running.values())
        counts["running"] -= waiting
        counts["paused"] += waiting
        return Counts(started=len(self.records), **counts)

    @property
    def is_spent(self) -> bool:
        """Whether epochs or cost are used up, so that no trial is to begin or to go on any more."""
        budget = self.control.budget
        epochs = budget.epochs is not None and self.epochs >= budget.epochs
        return epochs or (budget.cost is not None and self.cost >= budget.cost)

    @property
    def has_only_failed(self) -> bool:
        """Whether so many trials failed, and none succeeded, that it makes no sense to go on."""
        return self.spec is not None and not self.succeeded and self.failed_in_run >= self.spec.max_failures

    @property
    def best(self) -> TrialRecord | None:
        """The best trial that has not failed, by its last value; the earlier one of equals."""
        return next(iter(self._ranked(1)), None)

    def status_of(self, record: TrialRecord) -> TrialStatus:
        """What a trial does, or has become: one that is to be tried again when a pause ends is paused."""
        is_waiting = self.control.pause == "now" and record.status == "running"
        return "paused" if is_waiting and not (record.interrupted or record.stopping) else record.status

    def value(self, record: TrialRecord | Known) -> float | None:
        """A trial's last value of the metric that counts, or None."""
        return record.metrics.get(self.objective.metric) if self.objective else None

    def loss(self, record: TrialRecord) -> float | None:
        """The same, turned round where more is better: the smaller one is better."""
        rank = self.rank(record)
        return rank[0] if rank else None

    def leaderboard(self, limit: int | None = TOP) -> list[Row]:
        """The best trials, best first; the earlier one of equals."""
        return [
            Row(trial=r.number, value=value, step=r.step, params=r.params, status=self.status_of(r))
            for r in self._ranked(len(self.records) if limit is None else limit)
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
            warnings=self.warnings,
            failed_attempts=dict(self._failed_attempts),
            retried=self._retried,
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What people had better know, though the sweep goes on."""
        return tuple(filter(None, (left_out_text(self.known), restarted_text(self.restarted))))

    def commonest_failure(self) -> Failure | None:
        """The failure that most of the failed trials share, with the first one's traceback."""
        return next((counted.failure for counted in self.failures.commonest(1)), None)

    def ranks(self, limit: int) -> list[Rank]:
        """The ranks of the best trials that do not run, best first."""
        return self.ranking.best(limit, self._is_current)

    def rank(self, record: TrialRecord) -> Rank | None:
        """Where a trial stands, or None when it failed or has no value."""
        value = self.value(record)
        if value is None or self.objective is None or record.status == "failed":
            return None
        return (-value if self.objective.goal == "maximize" else value, record.number)

    def _first_metrics(self) -> dict[str, float]:
        return next((r.metrics for r in self.records if r.metrics), {})

    def _ranked(self, limit: int) -> list[TrialRecord]:
        """The best trials, best first, without sorting all of them."""
        running = sorted(rank for r in self.running.values() if (rank := self.rank(r)))
        ranks = merge(self.ranks(limit), running)
        return [self.records[number] for _, number in islice(ranks, limit)]

    def _is_current(self, rank: Rank) -> bool:
        """Whether it is not outdated: its trial runs again, or has another value by now."""
        record = self.records[rank[1]]
        return not record.running and self.rank(record) == rank
