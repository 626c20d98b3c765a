"""Meters: what a worker's activities count for its metrics, by the engine's own meter."""

from collections import Counter
from threading import Lock

from temporalio import activity
from temporalio.common import MetricGauge, MetricMeter

from metta.sweep.contracts.chunks import Chunk
from metta.sweep.contracts.decisions import Start
from metta.sweep.contracts.events import AttemptEnded, Failed, SegmentEnded
from metta.sweep.stores.trials import TrialTable

PREFIX = "metta_sweep_"

# no units besides their names: what serves them may add those a second time
ATTEMPT_SECONDS = f"{PREFIX}attempt_seconds"
CHUNK_SECONDS = f"{PREFIX}chunk_seconds"

ENDED = ("completed", "failed", "stopped")
"""Statuses of trials that are over; a paused one may go on."""


class Tally:
    """A gauge of what several things of one worker have together.

    Args:
        gauge: What shows it.
    """

    def __init__(self, gauge: MetricGauge) -> None:
        self._gauge, self._lock = gauge, Lock()
        self._numbers: dict[object, int] = {}
        self._sum = 0

    def set(self, who: object, number: int) -> None:
        """So many are of one of them now."""
        with self._lock:
            self._sum += number - self._numbers.pop(who, 0)
            if number:
                self._numbers[who] = number
            self._gauge.set(self._sum)


class Instruments:
    """What is counted for one activity of one queue; sweeps are no label, for their names never end.

    Args:
        meter: The activity's meter, which adds namespace, queue and the name of the activity.
    """

    def __init__(self, meter: MetricMeter) -> None:
        self.started = meter.create_counter(f"{PREFIX}trials_started", "Trials that were started")
        self.ended = meter.create_counter(f"{PREFIX}trials_ended", "Trials that are over, by status")
        self.failed = meter.create_counter(f"{PREFIX}attempts_failed", "Attempts that failed, by kind")
        self.seconds = meter.create_histogram_float(ATTEMPT_SECONDS, "How long attempts ran, by outcome")
        self.chunks = meter.create_histogram_float(CHUNK_SECONDS, "How long recording a chunk took")
        self.running = Tally(meter.create_gauge(f"{PREFIX}trials_running", "Trials that run on this worker"))
        self.sessions = Tally(
            meter.create_gauge(f"{PREFIX}sessions", "Sessions on this worker, parked ones too")
        )


class Meters:
    """The instruments of one worker, made when they are needed."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, str], Instruments] = {}

    def here(self) -> Instruments | None:
        """Those of the activity that runs here; None where nobody collects metrics."""
        meter, info = activity.metric_meter(), activity.info()
        if meter is MetricMeter.noop:
            return None
        key = info.task_queue, info.activity_type
        if key not in self._made:
            self._made[key] = Instruments(meter)
        return self._made[key]


class SweepMeter:
    """Counts what is recorded of one sweep; an ``Observer`` of its search.

    Args:
        instruments: What shows it.
    """

    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments

    def committed(self, chunk: Chunk, table: TrialTable, seconds: float) -> None:
        """Count what a chunk says, once: a chunk is recorded once, whatever is told again."""
        instruments = self._instruments
        instruments.chunks.record(seconds)
        started = sum(isinstance(decision, Start) for decision in chunk.decisions)
        if started:
            instruments.started.add(started)
        ended = Counter[str]()
        for event in chunk.events:
            if isinstance(event, AttemptEnded):
                ended[table.records[event.trial].status] += 1
                self._count(event)
        for status in ENDED:
            if ended[status]:
                instruments.ended.add(ended[status], {"status": status})

    def _count(self, event: AttemptEnded) -> None:
        outcome = "paused" if isinstance(event, SegmentEnded) else event.type
        self._instruments.seconds.record(event.seconds, {"outcome": outcome})
        if isinstance(event, Failed):
            self._instruments.failed.add(1, {"kind": event.failure.kind})


class SessionMeter(SweepMeter):
    """The same for a session, which also runs the trials.

    Args:
        instruments: What shows it.
    """

    def __init__(self, instruments: Instruments) -> None:
        super().__init__(instruments)
        instruments.sessions.set(self, 1)

    def committed(self, chunk: Chunk, table: TrialTable, seconds: float) -> None:
        """Also tell how many trials run now."""
        super().committed(chunk, table, seconds)
        self._instruments.running.set(self, len(table.running))

    def close(self) -> None:
        """The session is over."""
        self._instruments.running.set(self, 0)
        self._instruments.sessions.set(self, 0)
