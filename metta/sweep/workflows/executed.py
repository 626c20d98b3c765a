"""Executed: what an activity of an experiment or a trial gives."""

from typing import TypeVar

from pydantic import BaseModel
from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from metta.sweep.contracts.activities import ActivityReference
    from metta.sweep.contracts.errors import StageFailed
    from metta.sweep.contracts.plans import StageFailure
    from metta.sweep.workflows.policies import HEARTBEAT, LONGEST, RETRY

InputT = TypeVar("InputT", bound=BaseModel)
ResultT = TypeVar("ResultT", bound=BaseModel)

SUMMARY_CHARS = 100


async def executed(reference: ActivityReference[InputT, ResultT], order: InputT, summary: str) -> ResultT:
    """What an activity gives.

    Raises:
        StageFailed: When user code has failed for good.
    """
    try:
        result: ResultT = await workflow.execute_activity(
            reference.name,
            order,
            result_type=reference.result,
            start_to_close_timeout=LONGEST,
            heartbeat_timeout=HEARTBEAT,
            retry_policy=RETRY,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=summary[:SUMMARY_CHARS],
        )
    except ActivityError as error:
        if isinstance(error.cause, ApplicationError) and error.cause.type == StageFailed.__name__:
            raise StageFailed(StageFailure.model_validate(error.cause.details[0])) from error
        raise
    return result
