"""Traced pools: each attempt that a pool runs is a span."""

from opentelemetry.trace import Span, Tracer

from metta.sweep.contracts.attempts import Attempt, AttemptKey
from metta.sweep.contracts.events import Reported, TrialEvent
from metta.sweep.runners.pool import Pool
from metta.sweep.telemetry import spans


class TracedPool(Pool):
    """Another pool, whose attempts find the span in which they run.

    Args:
        pool: The other pool.
        tracer: What makes spans.
        sweep: The sweep whose trials it runs.
    """

    def __init__(self, pool: Pool, tracer: Tracer, sweep: str) -> None:
        self._pool, self._tracer, self._sweep = pool, tracer, sweep
        self._spans: dict[AttemptKey, Span] = {}

    @property
    def waiting_for(self) -> str:  # type: ignore[override] # it is only read
        """See ``Pool.waiting_for``."""
        return self._pool.waiting_for

    def free(self) -> int:
        """See ``Pool.free``."""
        return self._pool.free()

    def ahead(self) -> int:
        """See ``Pool.ahead``."""
        return self._pool.ahead()

    def start(self, attempt: Attempt) -> None:
        """Begin the span of an attempt, and the attempt in it."""
        span = self._spans[attempt.key] = spans.begin(self._tracer, self._sweep, attempt)
        self._pool.start(attempt.model_copy(update={"traceparent": spans.parent_of(span)}))

    def take_back(self, every: bool = False) -> list[Attempt]:
        """What has not begun has no span."""
        taken = self._pool.take_back(every)
        for attempt in taken:
            del self._spans[attempt.key]
        return taken

    def answer(self, key: AttemptKey) -> None:
        """See ``Pool.answer``."""
        self._pool.answer(key)

    def stop(self, key: AttemptKey) -> None:
        """See ``Pool.stop``."""
        self._pool.stop(key)

    def wait(self, timeout_s: float | None) -> list[TrialEvent]:
        """Wait for something to happen; the spans of attempts that have ended end."""
        events = self._pool.wait(timeout_s)
        for event in events:
            if not isinstance(event, Reported):
                key = AttemptKey(event.trial, event.segment, event.attempt)
                if span := self._spans.pop(key, None):
                    spans.end(span, event)
        return events

    def forgive(self, seconds: float) -> None:
        """See ``Pool.forgive``."""
        self._pool.forgive(seconds)

    def wake(self) -> None:
        """See ``Pool.wake``."""
        self._pool.wake()

    def close(self) -> None:
        """End everything; what has not ended is nobody's span."""
        self._pool.close()
