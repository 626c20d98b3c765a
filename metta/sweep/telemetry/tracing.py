"""Traces: which spans there are above the code that runs here, and where they are sent."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.jobs import TRACE_VARIABLE

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer, TracerProvider

TRACES = "METTA_SWEEP_TRACES"
KINDS = ("console", "otlp")
PIP = 'pip install "metta-sweep[telemetry]"'

SCOPE = "metta.sweep"
"""Name of the tracer whose spans are ours."""

FLUSH_S = 1.0
"""So long it is waited for spans of user code to be sent: a collector that is away holds nothing up."""

_PROVIDER = ContextVar["TracerProvider | None"]("metta.sweep tracer provider", default=None)
_BEGINNING = Lock()


def is_wanted() -> bool:
    """Whether ``METTA_SWEEP_TRACES`` asks for traces.

    Raises:
        DefinitionError: When it asks for what there is not.
    """
    given = os.environ.get(TRACES, "")
    if given and given not in KINDS:
        problem = f"{TRACES} has to be one of {', '.join(KINDS)}, got {given!r}"
        raise DefinitionError([problem], "the environment")
    return bool(given)


def provider() -> "TracerProvider":
    """The provider of this process: the program's own where it has one, else the one that is asked for.

    Raises:
        DefinitionError: When OpenTelemetry is not installed.
    """
    try:
        from opentelemetry import trace

        with _BEGINNING:
            if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider) and is_wanted():
                from metta.sweep.telemetry.providers import Provider

                trace.set_tracer_provider(Provider(os.environ[TRACES]))
        return trace.get_tracer_provider()
    except ImportError as error:
        given = os.environ.get(TRACES, "")
        raise DefinitionError([f"{TRACES}={given} needs OpenTelemetry: {PIP}"], "the environment") from error


def interceptors(given: "TracerProvider | None" = None) -> list[Any]:
    """What makes spans of a client's calls, and of what its workers do; nothing where nobody wants any.

    Args:
        given: Makes them; None takes what ``METTA_SWEEP_TRACES`` says.

    Raises:
        DefinitionError: When it asks for what there is not, or OpenTelemetry is not installed.
    """
    if given is None and not is_wanted():
        return []
    found = given or provider()
    from metta.sweep.telemetry.interceptors import Tracing

    return [Tracing(found)]


@contextmanager
def using(given: "TracerProvider | None") -> Iterator[None]:
    """Within it our spans are this provider's; None means the program's own."""
    token = _PROVIDER.set(given)
    try:
        yield
    finally:
        _PROVIDER.reset(token)


def tracer_here() -> "Tracer | None":
    """What makes spans below the one in which this code runs; None where nobody traces."""
    if "opentelemetry.trace" not in sys.modules:
        return None
    from opentelemetry import trace

    if not trace.get_current_span().get_span_context().is_valid:
        return None
    return (_PROVIDER.get() or trace.get_tracer_provider()).get_tracer(SCOPE)


def traceparent() -> str | None:
    """The span in which this code runs, as other processes are told of it; None where nobody traces."""
    if "opentelemetry.trace" not in sys.modules:
        return None
    from opentelemetry import trace

    from metta.sweep.telemetry.spans import parent_of

    span = trace.get_current_span()
    return parent_of(span) if span.get_span_context().is_valid else None


@contextmanager
def continued(parent: str | None) -> Iterator[None]:
    """Within it, in a process of user code, spans are children of one of another process.

    Args:
        parent: That span; None where nobody traces.
    """
    if parent is None:
        yield
        return
    before = os.environ.get(TRACE_VARIABLE)
    os.environ[TRACE_VARIABLE] = parent  # for programs that the code starts
    try:
        with _within(parent):
            yield
    finally:
        if before is None:
            os.environ.pop(TRACE_VARIABLE, None)
        else:
            os.environ[TRACE_VARIABLE] = before


@contextmanager
def _within(parent: str) -> Iterator[None]:
    try:
        from opentelemetry import context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        provider()  # after the user's code was imported, which may have one of its own
    except (ImportError, DefinitionError):  # the worker has said so
        yield
        return
    token = context.attach(TraceContextTextMapPropagator().extract({"traceparent": parent}))
    try:
        yield
    finally:
        context.detach(token)
        _flush()


class _Flushing:
    """Sends what user code has recorded: its process may be killed as soon as it has answered."""

    def __init__(self) -> None:
        self._thread: Thread | None = None

    def __call__(self) -> None:
        from opentelemetry import trace

        found = trace.get_tracer_provider()
        flush = getattr(found, "force_flush", None)
        is_away = self._thread is not None and self._thread.is_alive()
        if flush is None or is_away or not getattr(found, "has_news", True):
            return
        self._thread = Thread(target=flush, name="traces", daemon=True)
        self._thread.start()
        self._thread.join(FLUSH_S)


_flush = _Flushing()
