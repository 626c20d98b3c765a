"""The tracer provider that `METTA_SWEEP_TRACES` asks for; all else is said by `OTEL_*`."""

import os
import sys
from importlib.metadata import version

from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter

from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.telemetry.spans import Ids

BATCHES = ("OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "OTEL_BSP_SCHEDULE_DELAY")
"""What says how spans are gathered, and what only makes sense together."""

PROTOCOLS = ("http/protobuf", "grpc")
PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
PROTOCOL_OF_TRACES = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"


class Provider(TracerProvider):
    """Sends spans in batches; sampler, limits, delays and addresses are read from ``OTEL_*``.

    Args:
        kind: ``console`` or ``otlp``.

    Raises:
        DefinitionError: When there is no such exporter, or ``OTEL_*`` says what it cannot do.
    """

    def __init__(self, kind: str) -> None:
        ours = {"service.name": "metta-sweep", "service.version": version("metta-sweep")}
        said = OTELResourceDetector().detect()  # OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES
        try:
            super().__init__(resource=Resource.create(ours).merge(said), id_generator=Ids())
        except ValueError as error:  # which names the variable
            raise DefinitionError([str(error)], "the environment") from error
        self._noting = _noting(_printer() if kind == "console" else _sender())
        self.add_span_processor(self._noting)

    @property
    def has_news(self) -> bool:
        """Whether a span has ended since the last ``force_flush``."""
        return self._noting.has_news


class _Noting(BatchSpanProcessor):
    has_news = False

    def on_end(self, span: ReadableSpan) -> None:
        self.has_news = True
        super().on_end(span)

    def force_flush(self, timeout_millis: int | None = None) -> bool:
        self.has_news = False
        return super().force_flush(timeout_millis)


def _noting(exporter: SpanExporter) -> _Noting:
    try:
        return _Noting(exporter)
    except ValueError as error:  # which names none of the variables
        exporter.shutdown()
        said = [f"{name}={os.environ[name]}" for name in BATCHES if name in os.environ]
        raise DefinitionError([f"{' and '.join(said)}: {error}"], "the environment") from error


def _printer() -> SpanExporter:
    # one line each, on the stream that holds no results
    return ConsoleSpanExporter(out=sys.stderr, formatter=lambda span: f"{span.to_json(indent=None)}\n")


def _sender() -> SpanExporter:
    name = PROTOCOL_OF_TRACES if os.environ.get(PROTOCOL_OF_TRACES) else PROTOCOL
    protocol = os.environ.get(name) or PROTOCOLS[0]
    if protocol not in PROTOCOLS:
        raise DefinitionError(
            [f"{name} has to be one of {', '.join(PROTOCOLS)}, got {protocol!r}"], "the environment"
        )
    if protocol == "grpc":
        return _grpc_sender(name)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


def _grpc_sender(name: str) -> SpanExporter:
    from importlib import import_module

    try:
        module = import_module("opentelemetry.exporter.otlp.proto.grpc.trace_exporter")
    except ImportError as error:
        problem = (
            f"{name}=grpc needs a package of its own: pip install opentelemetry-exporter-otlp-proto-grpc"
        )
        raise DefinitionError([problem], "the environment") from error
    made: SpanExporter = module.OTLPSpanExporter()
    return made
