"""The activity `end_leftovers`: trials that a deleted sweep has left end before others take their names."""

import asyncio
from contextlib import suppress
from time import monotonic
from typing import Any

from temporalio import activity
from temporalio.client import WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from metta.sweep.activities.handles import RPC_TIMEOUT, is_over
from metta.sweep.contracts.activities import END_LEFTOVERS
from metta.sweep.contracts.advances import LEDGER, Trials

LOOK_S = 0.5
"""How often it is looked whether one is over."""

PATIENCE_S = 60.0
"""A trial that was told to stop has ended by then, its grace included, unless nobody serves its queue."""


@activity.defn(name=END_LEFTOVERS.name)
async def end_leftovers(trials: Trials) -> Trials:
    """End those that another ledger wants, and say which those are; the others go on."""
    client = activity.client()
    ended = []
    for key in trials.keys:
        found = client.get_workflow_handle(key.workflow_id(trials.sweep_id))
        try:
            description = await found.describe(rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            ended.append(key)  # it was deleted meanwhile
            continue
        # one that a former version has begun says nothing
        if await description.memo_value(LEDGER, trials.ledger_id, type_hint=str) == trials.ledger_id:
            continue
        await _end(client.get_workflow_handle(found.id, run_id=description.run_id))
        ended.append(key)
    return trials.model_copy(update={"keys": tuple(ended)})


async def _end(trial: WorkflowHandle[Any, Any]) -> None:
    """Let a trial stop, and wait for it."""
    activity.logger.info("%s is a trial of a deleted sweep, and is ended", trial.id)
    deadline = monotonic() + PATIENCE_S
    with suppress(RPCError):  # it has just ended; else it is terminated
        await trial.signal("stop", rpc_timeout=RPC_TIMEOUT)
    while not await is_over(trial):
        activity.heartbeat()
        if monotonic() > deadline:
            with suppress(RPCError):
                await trial.terminate("its sweep was deleted, and it does not stop", rpc_timeout=RPC_TIMEOUT)
        await asyncio.sleep(LOOK_S)
