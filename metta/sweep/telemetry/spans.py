"""Spans of attempts: one for each, from when it is handed over or attended to its end."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from hashlib import blake2b

from opentelemetry import trace
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Span, Status, StatusCode, Tracer

from metta.sweep.contracts.attempts import Attempt
from metta.sweep.contracts.events import AttemptEnded, Failed
from metta.sweep.telemetry.scopes import names_of_attempt

NAME = "RunAttempt"

ID_BYTES = 8

_NEXT = ContextVar[int | None]("metta.sweep next span id", default=None)


class Ids(RandomIdGenerator):
    """Random ids, but for spans whose ids are known before: a job knows it, whoever attends that later."""

    def generate_span_id(self) -> int:
        """The id of the next span."""
        return _NEXT.get() or super().generate_span_id()


def begin(tracer: Tracer, sweep: str, attempt: Attempt, outlives: bool = False) -> Span:
    """Begin the span of an attempt, below the one in which this code runs.

    Args:
        tracer: What makes it.
        sweep: The sweep.
        attempt: The attempt.
        outlives: Whether it may outlive this process: whoever goes on with it makes the span of the same id.
    """
    names = names_of_attempt(sweep, attempt.key)
    attributes = {f"metta.{name}": value for name, value in names.items()}
    with _known(sweep, attempt) if outlives else nullcontext():
        return tracer.start_span(NAME, attributes={**attributes, "metta.params": len(attempt.params)})


def end(span: Span, ended: AttemptEnded) -> None:
    """End the span of an attempt, and say how that has ended."""
    span.set_attribute("metta.outcome", outcome_of(ended))
    if isinstance(ended, Failed):
        span.set_attribute("metta.failure", ended.failure.kind)
        span.set_status(Status(StatusCode.ERROR, ended.failure.message))
    span.end()


def outcome_of(ended: AttemptEnded) -> str:
    """How an attempt ended, in one word: completed, paused, stopped or failed.

    >>> from metta.sweep.contracts.events import SegmentEnded
    >>> outcome_of(SegmentEnded(at=0, trial=0, step=3))
    'paused'
    """
    return "paused" if ended.type == "segment_ended" else ended.type


def parent_of(span: Span) -> str:
    """A span as other processes are told of it, in the words of W3C Trace Context."""
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


@contextmanager
def _known(sweep: str, attempt: Attempt) -> Iterator[None]:
    """Within it the next span has an id that anybody can tell who knows its trace and its attempt."""
    trace_id = trace.get_current_span().get_span_context().trace_id
    text = f"{trace_id:032x} {sweep} {attempt.key}"
    token = _NEXT.set(int.from_bytes(blake2b(text.encode(), digest_size=ID_BYTES).digest(), "big"))
    try:
        yield
    finally:
        _NEXT.reset(token)
