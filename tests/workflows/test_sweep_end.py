"""What comes at the very moment a sweep ends is honoured, or its sender is told that the sweep is over."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from uuid import uuid4

import pytest
from temporalio import activity
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker

from metta.sweep.client.settings import Settings
from metta.sweep.contracts.activities import RUN_SEARCH_SESSION
from metta.sweep.contracts.sweeps import Counts, Progress, SessionInput, SessionResult
from metta.sweep.workflows.sweep import Sweep
from tests.rig import Handle, Rig, definition, until

ROUNDS = 30
STEP_S = 0.0005


class Ending:
    """Sessions that end a moment after they have begun: time enough to change the budget, or not quite."""

    def __init__(self) -> None:
        self.begun: dict[str, asyncio.Event] = {}

    @activity.defn(name=RUN_SEARCH_SESSION.name)
    async def session(self, input: SessionInput) -> SessionResult:
        self.begun[input.sweep_id].set()
        await asyncio.sleep(0.01)
        return SessionResult(
            progress=Progress(counts=Counts(started=input.control.budget.trials or 0)),
            reason="budget",
            control=input.control,
            ledger="nowhere",
        )


async def by_update(handle: Handle) -> None:
    await handle.execute_update("set_budget", 2)


async def by_signal(handle: Handle) -> None:
    await handle.signal("set_budget", 2)


def has_completed(rig: Rig, name: str, trials: int) -> bool:
    return rig.table(name).counts.completed == trials


async def refusal_of(change: Awaitable[object]) -> RPCStatusCode | None:
    try:
        await change
    except RPCError as error:
        return error.status
    return None


@pytest.mark.parametrize("change", [by_update, by_signal])
async def test_a_budget_raised_when_the_session_ends_is_honoured_or_refused(
    server: Settings, change: Callable[[Handle], Awaitable[None]]
) -> None:
    client = await Client.connect(
        str(server.connect["target_host"]),
        namespace=str(server.connect["namespace"]),
        data_converter=pydantic_data_converter,
    )
    queue = f"queue-{uuid4()}"
    ending = Ending()

    async def outcome_of(number: int) -> tuple[RPCStatusCode | None, int]:
        """How the change was refused, if it was, and how many trials there were."""
        name = f"{queue}-{number}"
        begun = ending.begun[name] = asyncio.Event()
        handle = await client.start_workflow("Sweep", definition(budget=1), id=name, task_queue=queue)
        await begun.wait()
        await asyncio.sleep(number**2 * STEP_S)  # from at once to certainly too late
        refused = await refusal_of(change(handle))
        return refused, (await handle.result())["progress"]["counts"]["started"]

    async with Worker(client, task_queue=queue, workflows=[Sweep], activities=[ending.session]):
        found = [await asyncio.gather(outcome_of(n), outcome_of(n + 1)) for n in range(0, ROUNDS, 2)]
    outcomes = {outcome for pair in found for outcome in pair}
    assert outcomes == {(None, 2), (RPCStatusCode.NOT_FOUND, 1)}  # both happen, and nothing else


async def test_a_budget_raised_whenever_a_real_session_ends_is_honoured_or_refused(rig: Rig) -> None:
    handle = await rig.start(definition(budget=1))
    granted, refused = 1, None
    while granted < 10 and not refused:
        await until(partial(has_completed, rig, handle.id, granted), poll_s=0.001)
        await asyncio.sleep((granted - 1) * 0.01)
        refused = await refusal_of(handle.execute_update("set_budget", granted + 1))
        granted += refused is None
    assert refused in (None, RPCStatusCode.NOT_FOUND)
    assert (await handle.result())["progress"]["counts"]["completed"] == granted
    assert rig.table(handle.id).counts.started == granted
