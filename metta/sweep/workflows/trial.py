"""The workflow of a trial that is a job: one attempt of one segment."""

import asyncio

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from metta.sweep.contracts.activities import RUN_OBJECTIVE, RUN_TRIAL
    from metta.sweep.contracts.advances import TrialNews, TrialOrder
    from metta.sweep.contracts.events import Stopped
    from metta.sweep.workflows.policies import HEARTBEAT, LONGEST, RETRY

SUMMARY_CHARS = 100


@workflow.defn(name="Trial")
class Trial:
    """Sees to one attempt, and tells the workflow of its sweep how it ended.

    It outlives that workflow, which may continue as new meanwhile, or be over.
    """

    @workflow.init
    def __init__(self, order: TrialOrder) -> None:
        self._order = order
        self._is_stopped = False

    @workflow.run
    async def run(self, order: TrialOrder) -> TrialNews:
        """Let the attempt run to its end.

        Raises:
            ApplicationError: When it failed.
        """
        running = asyncio.create_task(self._run(order))
        stopping = asyncio.create_task(workflow.wait_condition(lambda: self._is_stopped))
        is_cancelled = False
        try:
            await workflow.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            is_cancelled = True
        if not running.done():
            running.cancel()  # which asks the job to end
        stopping.cancel()
        news = await self._told(running)
        if is_cancelled:
            raise asyncio.CancelledError
        return news

    @workflow.signal
    def stop(self) -> None:
        """Let the attempt end."""
        self._is_stopped = True

    async def _run(self, order: TrialOrder) -> TrialNews:
        params = ", ".join(f"{name}={value}" for name, value in order.attempt.params.items())
        reference = RUN_OBJECTIVE if isinstance(order.objective, str) else RUN_TRIAL
        news: TrialNews = await workflow.execute_activity(
            reference.name,
            order,
            result_type=reference.result,
            task_queue=order.queue,
            start_to_close_timeout=LONGEST,
            heartbeat_timeout=HEARTBEAT,
            retry_policy=RETRY,
            # a stopped trial has ended when its job has
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=params[:SUMMARY_CHARS],
        )
        return news

    async def _told(self, running: "asyncio.Task[TrialNews]") -> TrialNews:
        """What became of it, once the sweep knows it, too."""
        try:
            news = await self._ended(running)
        except ActivityError as error:
            cause = error.cause
            if not (isinstance(cause, ApplicationError) and cause.details):
                raise
            await self._tell(TrialNews.model_validate(cause.details[0]))
            raise cause from None  # without wrapping
        await self._tell(news)
        return news

    async def _ended(self, running: "asyncio.Task[TrialNews]") -> TrialNews:
        try:
            return await running
        except ActivityError as error:
            if not is_cancelled_exception(error):
                raise
        # nobody attended it at that moment
        if isinstance(self._order.objective, str):
            key = self._order.attempt.key._asdict()
            return TrialNews(**key, end=Stopped(at=workflow.time(), **key))
        return await self._run(self._order.model_copy(update={"is_unwanted": True}))

    async def _tell(self, news: TrialNews) -> None:
        sweep = workflow.get_external_workflow_handle(self._order.sweep_id)
        try:
            await sweep.signal("trial_news", news)
        except ApplicationError as error:  # it is over; whoever resumes it finds what the job has left
            workflow.logger.info("%s is not told: %s", self._order.sweep_id, error)
