"""Handles of workflows, as activities ask them."""

from datetime import timedelta
from typing import Any

from temporalio.client import WorkflowExecutionStatus, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

RPC_TIMEOUT = timedelta(seconds=3)
"""What does not answer by then is asked again later."""


async def is_over(handle: WorkflowHandle[Any, Any]) -> bool:
    """Whether a workflow is over for certain."""
    try:
        description = await handle.describe(rpc_timeout=RPC_TIMEOUT)
    except RPCError as error:
        return error.status is RPCStatusCode.NOT_FOUND
    return description.status is not WorkflowExecutionStatus.RUNNING
