"""What carries traces through the engine: its own interceptor, without the questions asked each second."""

from typing import Any

from opentelemetry.trace import TracerProvider
from temporalio.client import OutboundInterceptor, QueryWorkflowInput
from temporalio.contrib.opentelemetry import TracingInterceptor

from metta.sweep.telemetry.tracing import SCOPE


class Tracing(TracingInterceptor):
    """Spans of clients, workflows and activities.

    A session asks its workflow each second what people want, and a client how far it is: spans of these
    would bury all others.

    Args:
        provider: Makes the spans.
    """

    def __init__(self, provider: TracerProvider) -> None:
        super().__init__(provider.get_tracer(SCOPE))

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        """See base class."""
        return _WithoutQueries(super().intercept_client(next), next)


class _WithoutQueries(OutboundInterceptor):
    def __init__(self, next: OutboundInterceptor, plain: OutboundInterceptor) -> None:
        super().__init__(next)
        self._plain = plain

    async def query_workflow(self, input: QueryWorkflowInput) -> Any:
        return await self._plain.query_workflow(input)
