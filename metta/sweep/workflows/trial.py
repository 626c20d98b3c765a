"""The workflow of a trial that is a job or an experiment: one attempt of one segment."""

import asyncio

from pydantic import ValidationError
from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, FailureError

with workflow.unsafe.imports_passed_through():
    from metta.sweep.contracts.activities import RUN_OBJECTIVE, RUN_TRIAL
    from metta.sweep.contracts.advances import TrialNews, TrialOrder
    from metta.sweep.contracts.events import Failed, Stopped
    from metta.sweep.contracts.experiments import ExperimentSpec
    from metta.sweep.contracts.failures import Failure, FailureKind, shown_failure
    from metta.sweep.workflows.policies import HEARTBEAT, LONGEST, RETRY
    from metta.sweep.workflows.trial_experiment import TrialExperiment


@workflow.defn(name="Trial")
class Trial:
    """Sees to one attempt, and tells the workflow of its sweep how it ended.

    It outlives that workflow, which may continue as new meanwhile, or be over.
    """

    @workflow.init
    def __init__(self, order: TrialOrder) -> None:
        self._order = order
        self._is_stopped = self._is_cancelled = False

    @workflow.run
    async def run(self, order: TrialOrder) -> TrialNews:
        """Let the attempt run to its end.

        Raises:
            ApplicationError: When it failed.
        """
        running = asyncio.create_task(self._run(order))
        stopping = asyncio.create_task(workflow.wait_condition(lambda: self._is_stopped))
        try:
            await workflow.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._is_cancelled = True
        if not running.done():
            running.cancel()  # which asks the job to end
        stopping.cancel()
        news = await self._ended(running)
        if self._is_cancelled and isinstance(news.end, Stopped):
            news = self._failed("cancelled", "somebody has cancelled its workflow")
        await self._tell(news)
        if isinstance(news.end, Failed) and not self._is_cancelled:
            failure = news.end.failure
            raise ApplicationError(shown_failure(failure), type=failure.kind, non_retryable=True)
        if self._is_cancelled:
            raise asyncio.CancelledError
        return news

    @workflow.signal
    def stop(self) -> None:
        """Let the attempt end."""
        self._is_stopped = True

    async def _ended(self, running: "asyncio.Task[TrialNews]") -> TrialNews:
        """What became of it, also when nobody attended it at the moment in which it was to end."""
        try:
            return await running
        except (ActivityError, asyncio.CancelledError) as error:
            if not (self._is_stopped or self._is_cancelled):
                return self._failed("infra", _message(error))
        try:
            return await self._run(self._order.model_copy(update={"is_unwanted": True}))
        except ActivityError as error:
            return self._failed("infra", _message(error))

    async def _run(self, order: TrialOrder) -> TrialNews:
        """What an activity, or a child workflow, has to say of the attempt.

        Raises:
            ActivityError: When it could not say anything.
        """
        if isinstance(order.objective, ExperimentSpec):
            return await TrialExperiment(order, order.objective).news()
        if order.is_unwanted and isinstance(order.objective, str):  # it has ended with its worker's processes
            key = order.attempt.key._asdict()
            return TrialNews(**key, end=Stopped(at=workflow.time(), **key))
        reference = RUN_OBJECTIVE if isinstance(order.objective, str) else RUN_TRIAL
        try:
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
                summary=order.summary,
            )
        except ActivityError as error:
            if news_told := _told(error):
                return news_told
            raise
        return news

    def _failed(self, kind: FailureKind, message: str) -> TrialNews:
        key = self._order.attempt.key._asdict()
        failure = Failure(kind=kind, message=message)
        return TrialNews(**key, end=Failed(at=workflow.time(), failure=failure, **key))

    async def _tell(self, news: TrialNews) -> None:
        sweep = workflow.get_external_workflow_handle(self._order.sweep_id)
        try:
            known = news.model_copy(update={"ledger_id": self._order.ledger_id})
            await sweep.signal("trial_news", known)
        except FailureError as error:  # it is over; whoever resumes it finds what the job has left
            workflow.logger.info("%s is not told: %s", self._order.sweep_id, error)


def _told(error: ActivityError) -> TrialNews | None:
    """The news of a failed trial; None when the activity has failed for another reason."""
    cause = error.cause
    if not isinstance(cause, ApplicationError) or not cause.details:
        return None
    try:
        return TrialNews.model_validate(cause.details[0])
    except ValidationError:  # somebody has failed it by hand
        return None


def _message(error: BaseException) -> str:
    cause = error.cause if isinstance(error, ActivityError) else None
    told = cause.message if isinstance(cause, ApplicationError) else str(cause or error)
    return f"nobody could say what became of it: {told}"
