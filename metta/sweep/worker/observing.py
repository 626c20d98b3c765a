"""Observing activities: what their lines are about, the spans of attempts, and how many of them run."""

from typing import TYPE_CHECKING, Any

from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from metta.sweep.activities.meters import Meters
from metta.sweep.contracts.advances import TrialNews, TrialOrder
from metta.sweep.telemetry.scopes import Names, names_of_order, names_of_workflow, scope
from metta.sweep.telemetry.tracing import tracer_here, using

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider


class Observing(Interceptor):
    """Says what each activity is about, to the log and to traces.

    It is a worker's own, and so within those that a client has brought, such as OpenTelemetry's.

    Args:
        provider: Makes the spans of attempts; None takes the program's own.
    """

    def __init__(self, provider: "TracerProvider | None" = None) -> None:
        self.provider, self.meters = provider, Meters()

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """See base class."""
        return _Observed(next, self)


class _Observed(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, root: Observing) -> None:
        super().__init__(next)
        self._root = root

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        order = input.args[0] if input.args else None
        names = _names(order)
        with scope(names), using(self._root.provider):
            _mark(names)
            if isinstance(order, TrialOrder):
                return await self._attempt(order, input)
            return await super().execute_activity(input)

    async def _attempt(self, order: TrialOrder, input: ExecuteActivityInput) -> Any:
        """An attempt that this activity attends is counted, and is a span."""
        instruments, who = self._root.meters.here(), (order.sweep_id, order.attempt.key)
        if instruments:
            instruments.running.set(who, 1)
        try:
            if (tracer := tracer_here()) is None:
                return await super().execute_activity(input)
            from opentelemetry.trace import use_span  # which is not installed everywhere

            from metta.sweep.telemetry import spans

            span = spans.begin(tracer, order.sweep_id, order.attempt, outlives=True)
            with use_span(span, record_exception=False, set_status_on_exception=False):
                try:
                    result = await super().execute_activity(input)
                except ApplicationError as error:
                    if (news := _news(error)) and news.end:
                        spans.end(span, news.end)
                    raise  # without news it goes on, and whoever attends it then makes the span
                if isinstance(result, TrialNews) and result.end:
                    spans.end(span, result.end)
                return result
        finally:
            if instruments:
                instruments.running.set(who, 0)


def _news(error: ApplicationError) -> TrialNews | None:
    return next((detail for detail in error.details if isinstance(detail, TrialNews)), None)


def _names(order: object) -> Names:
    info = activity.info()
    names = names_of_workflow(info.workflow_type or "", info.workflow_id or "")
    return {**names, **names_of_order(order)}


def _mark(names: Names) -> None:
    """Say what it is about on the activity's own span, if it has one."""
    if tracer_here() is not None:
        from opentelemetry import trace

        span = trace.get_current_span()
        span.set_attributes({f"metta.{name}": value for name, value in names.items()})
