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
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.service import RPCError, RPCStatusCode

from metta.sweep.contracts.errors import DefinitionError, SweepEnded, SweepFailed
from metta.sweep.contracts.experiments import ExperimentResult
from metta.sweep.contracts.nested import NestedEnd, NestedKey, NestedRun, NestedState, ToldError
from metta.sweep.contracts.sweeps import SweepResult

RPC_TIMEOUT = timedelta(seconds=30)
"""An update is answered by a worker, which may be busy."""

LOOK_S = 1.0
LOOK_MOST_S = 10.0
"""How long it takes until it is looked again whether a run has begun that had to wait: longer each time."""

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

MOST = 2000
"""So many updates the server takes of one run of a workflow."""

T = TypeVar("T")


class NestedRuns:
    """The nested runs of the stages of one worker."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def end_of(self, run: NestedRun) -> NestedEnd:
        """Let a run begin, unless it has, and wait for its end."""
        parent = _parent()
        if activity.info().attempt > 1 and (end := await _found(parent, run)):
            return end
        try:
            async with self._turns:
                state = await _asked(parent, run, f"{run.at}/{run.key}/{activity.info().attempt}")
        except WorkflowUpdateFailedError as error:
            return NestedEnd(error=_told(error.cause, run.key))
        except RPCError as error:
            if not _is_full(error):
                raise
            return NestedEnd(error=ToldError.of(_too_many(run)))
        look_s = LOOK_S
        while not state.run and state.error is None:
            await asyncio.sleep(look_s)
            look_s = min(look_s * 1.5, LOOK_MOST_S)
            state = await _state(parent, run)
        return NestedEnd(error=state.error) if state.error else await _ended(activity.client(), run, state)

    async def drop(self, run: NestedRun) -> None:
        """Let a run end: nobody wants to know of it any more."""
        key = NestedKey(at=run.at, key=run.key)
        await insisted(partial(_parent().signal, "unnest", key))


def _parent() -> WorkflowHandle[Any, Any]:
    info = activity.info()
    return activity.client().get_workflow_handle(info.workflow_id or "", run_id=info.workflow_run_id)


async def _state(parent: WorkflowHandle[Any, Any], run: NestedRun) -> NestedState:
    key = NestedKey(at=run.at, key=run.key)
    state: NestedState = await insisted(partial(parent.query, "nested", key, result_type=NestedState))
    return state


async def _found(parent: WorkflowHandle[Any, Any], run: NestedRun) -> NestedEnd | None:
    """How a run ends that another attempt has asked for: another update would be one of few.

    None when it is to begin, also because it has failed, or was cancelled.
    """
    state, client = await _state(parent, run), activity.client()
    if not state.run:
        return None
    described = await insisted(client.get_workflow_handle(state.name).describe)
    if described.status not in (WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.COMPLETED):
        return None
    try:
        result = await _result(client, run, state)
    except WorkflowFailureError as error:
        if isinstance(error.cause, CancelledError):  # when it was looked, somebody had just dropped it
            return None
        return NestedEnd(error=_told(error.cause, state.name))
    if result.reason == "stopped":  # the experiment is being stopped: its stage is to be given up
        return None
    return _end(result, state.name)


def _is_full(error: RPCError) -> bool:
    return error.status is RPCStatusCode.FAILED_PRECONDITION and "number of distinct updates" in error.message


def _too_many(run: NestedRun) -> DefinitionError:
    problem = (
        f"an experiment may ask for about {MOST:,} runs until its history begins anew, which it does between"
        " two stages; put them into stages of a loop, or into experiments of their own"
    )
    return DefinitionError([problem], f"the nested run {run.key} of the stage {run.at}")


async def _asked(parent: WorkflowHandle[Any, Any], run: NestedRun, id: str) -> NestedState:
    async def ask() -> NestedState:
        state: NestedState = await parent.execute_update(
            "nest", run, id=id, result_type=NestedState, rpc_timeout=RPC_TIMEOUT
        )
        return state

    return await insisted(ask)


async def _ended(client: Client, run: NestedRun, state: NestedState) -> NestedEnd:
    try:
        return _end(await _result(client, run, state), state.name)
    except WorkflowFailureError as error:
        return NestedEnd(error=_told(error.cause, state.name))


async def _result(client: Client, run: NestedRun, state: NestedState) -> SweepResult | ExperimentResult:
    kind: Any = SweepResult if run.workflow == "Sweep" else ExperimentResult
    child = client.get_workflow_handle(state.name, run_id=state.run, result_type=kind)
    result: SweepResult | ExperimentResult = await insisted(child.result)
    return result


def _end(result: SweepResult | ExperimentResult, name: str) -> NestedEnd:
    if isinstance(result, SweepResult):
        return NestedEnd(lasts=result.reason != "stopped")
    if result.reason == "stopped":
        return NestedEnd(error=ToldError.of(SweepEnded(f"{name} was stopped before its end")))
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
