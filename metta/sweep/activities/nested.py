"""Nested runs: the activity of a stage lets its workflow start them, and waits for their ends."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from temporalio import activity
from temporalio.client import (
    Client,
    RPCTimeoutOrCancelledError,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from metta.sweep.contracts.errors import SweepEnded, SweepFailed
from metta.sweep.contracts.experiments import ExperimentResult
from metta.sweep.contracts.nested import NestedEnd, NestedKey, NestedRun, NestedState, ToldError
from metta.sweep.contracts.sweeps import SweepResult

RPC_TIMEOUT = timedelta(seconds=30)
"""An update is answered by a worker, which may be busy."""

LOOK_S = 1.0
"""How often it is looked whether a run has begun that had to wait."""

AGAIN_S = 1.0
"""So long after the server did not answer it is asked again."""

AT_ONCE = 6
"""The server takes ten updates of one workflow at the same time."""

AWAY = (
    RPCStatusCode.CANCELLED,
    RPCStatusCode.UNKNOWN,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.RESOURCE_EXHAUSTED,
    RPCStatusCode.ABORTED,
    RPCStatusCode.INTERNAL,
    RPCStatusCode.UNAVAILABLE,
)
"""What a server answers that may answer otherwise soon."""

T = TypeVar("T")


class NestedRuns:
    """The nested runs of the stages of one worker."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def end_of(self, run: NestedRun) -> NestedEnd:
        """Let a run begin, unless it has, and wait for its end."""
        parent = _parent()
        try:
            async with self._turns:
                state = await _asked(parent, run, f"{run.at}/{run.key}/{activity.info().attempt}")
        except WorkflowUpdateFailedError as error:
            return NestedEnd(error=_told(error.cause, run.key))
        key = NestedKey(at=run.at, key=run.key)
        while not state.run and state.error is None:
            await asyncio.sleep(LOOK_S)
            state = await insisted(partial(parent.query, "nested", key, result_type=NestedState))
        return NestedEnd(error=state.error) if state.error else await _ended(activity.client(), run, state)

    async def drop(self, run: NestedRun) -> None:
        """Let a run end: nobody wants to know of it any more."""
        key = NestedKey(at=run.at, key=run.key)
        await insisted(partial(_parent().signal, "unnest", key))


def _parent() -> WorkflowHandle[Any, Any]:
    info = activity.info()
    return activity.client().get_workflow_handle(info.workflow_id or "", run_id=info.workflow_run_id)


async def _asked(parent: WorkflowHandle[Any, Any], run: NestedRun, id: str) -> NestedState:
    async def ask() -> NestedState:
        state: NestedState = await parent.execute_update(
            "nest", run, id=id, result_type=NestedState, rpc_timeout=RPC_TIMEOUT
        )
        return state

    return await insisted(ask)


async def _ended(client: Client, run: NestedRun, state: NestedState) -> NestedEnd:
    kind: Any = SweepResult if run.workflow == "Sweep" else ExperimentResult
    child = client.get_workflow_handle(state.name, run_id=state.run, result_type=kind)
    try:
        result = await insisted(child.result)
    except WorkflowFailureError as error:
        return NestedEnd(error=_told(error.cause, state.name))
    if isinstance(result, SweepResult):
        return NestedEnd(lasts=result.reason != "stopped")
    if result.reason == "stopped":
        return NestedEnd(error=ToldError.of(SweepEnded(f"{state.name} was stopped before its end")))
    return NestedEnd(value=result.value)


async def insisted(call: Callable[[], Awaitable[T]]) -> T:
    """What the server answers, however long it is away.

    Raises:
        RPCError: When it answers that it cannot do what was asked.
    """
    while True:
        try:
            return await call()
        except RPCTimeoutOrCancelledError as error:  # it says so of calls that were cancelled, too
            if (task := asyncio.current_task()) and task.cancelling():
                raise asyncio.CancelledError from error
        except WorkflowQueryFailedError:
            pass  # a worker is just starting
        except RPCError as error:
            if error.status not in AWAY:
                raise
        await asyncio.sleep(AGAIN_S)


def _told(cause: BaseException | None, name: str) -> ToldError:
    """The failure of a workflow, below the engine's wrappers."""
    while cause and cause.__cause__ and not isinstance(cause, ApplicationError):
        cause = cause.__cause__
    if isinstance(cause, ApplicationError):
        details = tuple(cause.details)
        return ToldError(kind=cause.type or "", message=cause.message, details=details)
    return ToldError.of(SweepFailed(f"{name} was cancelled before its end"))
