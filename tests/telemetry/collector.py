"""A collector of traces in this process: it takes what OTLP exporters post, and decodes it."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from time import monotonic, sleep
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PATIENCE_S = 20.0


@dataclass(frozen=True)
class Span:
    name: str
    trace: str
    id: str
    parent: str
    service: str
    seconds: float
    is_error: bool
    attributes: dict[str, Any]


@dataclass
class Collector:
    """What was sent so far."""

    port: int
    spans: list[Span] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """Leads processes here, and lets them send soon."""
        return {
            "METTA_SWEEP_TRACES": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.port}",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        }

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    def awaited(self, name: str, count: int) -> list[Span]:
        """So many spans of a name, which are on their way."""
        deadline = monotonic() + PATIENCE_S
        while len(found := self.named(name)) < count and monotonic() < deadline:
            sleep(0.05)
        assert len(found) == count, f"{[span.name for span in self.spans]}"
        return found

    def path(self, span: Span) -> list[str]:
        """The names of spans from the root to one; those above it end, and are sent, later."""
        names = [span.name]
        deadline = monotonic() + PATIENCE_S
        while span.parent:
            while not (above := [one for one in self.spans if one.id == span.parent]):
                assert monotonic() < deadline, f"the parent of {span.name} was never sent"
                sleep(0.05)
            [span] = above
            names.append(span.name)
        return names[::-1]


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that listens at a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            collector.spans += _spans(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = Collector(server.server_port)
        thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()


def _spans(request: ExportTraceServiceRequest) -> Iterator[Span]:
    for resource in request.resource_spans:
        service = _values(resource.resource.attributes).get("service.name", "")
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Span(
                    name=span.name,
                    trace=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    service=service,
                    seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                    is_error=span.status.code == 2,
                    attributes=_values(span.attributes),
                )


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
