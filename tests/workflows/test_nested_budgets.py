"""What all that runs within an experiment may spend together, on a real server."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError

from metta.sweep import Budget
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.experiments import ExperimentResult
from metta.sweep.contracts.outcomes import NestedEnded
from metta.sweep.pipeline.packing import Packer
from metta.sweep.stores.data import DataStore
from metta.sweep.stores.spending import Spending
from metta.sweep.worker.main import BEAT
from tests.experiments import nesting
from tests.rig import Handle, Rig, failure_of, until, working

SCRIPT = Path(nesting.__file__)


@pytest.fixture
async def rig(server: Settings, tmp_path: Path) -> AsyncIterator[Rig]:
    async with working(server, tmp_path / "rig", max_heartbeat_throttle_interval=BEAT) as made:
        yield made


async def start(
    rig: Rig, kind: str, budget: object, *, name: str = "", resume: bool = False, **fields: object
) -> Handle:
    definition = {
        "experiment": f"{SCRIPT}:{kind}",
        "fields": fields,
        "input": {},
        "budget": budget,
        "resume": resume,
    }
    name = name or f"experiment-{os.urandom(4).hex()}"
    return await rig.client.start_workflow("Experiment", definition, id=name, task_queue=rig.queue)


async def value_of(rig: Rig, handle: Handle) -> Any:
    result = ExperimentResult.model_validate(await handle.result())
    return Packer(DataStore(rig.store.root), pickle=False).unkept(result.value)


async def test_the_last_one_gets_what_is_left(rig: Rig) -> None:
    handle = await start(rig, "Spending", 9)
    assert await value_of(rig, handle) == [4, 4, 1]
    assert Spending(rig.store).by(handle.id).trials == 9


async def test_when_nothing_is_left_the_stage_fails_and_goes_on_with_more(rig: Rig) -> None:
    handle = await start(rig, "Spending", 6, name="spending")
    failure = await failure_of(handle)
    assert "nothing is left for spend/s2 of the budget that it shares (trials=6)" in failure.message
    handle = await start(rig, "Spending", 5, name="spending", resume=True)
    failure = await failure_of(handle)
    assert failure.type == "DefinitionError"
    assert "the budget of spending: trials: 6 are spent, got 5; give more than that" in failure.message
    assert Spending(rig.store).by(handle.id).trials == 6
    handle = await start(rig, "Spending", 20, name="spending", resume=True)
    assert await value_of(rig, handle) == [4, 2, 4]  # what has ended with its share is not run again


async def test_those_that_run_at_once_share_it(rig: Rig) -> None:
    handle = await start(rig, "Spending", 6, times=2, at_once=True)
    assert sorted(await value_of(rig, handle)) == [2, 4]


async def test_one_waits_for_what_another_may_give_back(rig: Rig) -> None:
    handle = await start(rig, "Spending", 6, times=2, trials=None, at_once=True)
    failure = await failure_of(handle)
    assert "nothing is left for" in failure.message
    assert Spending(rig.store).by(handle.id).trials == 6


async def test_it_holds_at_every_level(rig: Rig) -> None:
    handle = await start(rig, "Spending", 7, times=2, levels=2)
    assert await value_of(rig, handle) == [4, 3]
    assert Spending(rig.store).by(handle.id).trials == 7


async def test_what_is_used_up_is_told_of_the_one_whose_limit_it_is(rig: Rig) -> None:
    handle = await start(rig, "Spending", 30, times=2, levels=2, within=4)
    failure = await failure_of(handle)
    below = f"{handle.id}/spend/below"
    assert "nothing is left for spend/s1 of the budget that it shares (trials=4): " in failure.message
    assert f"it is that of {below}, given in code: give it a larger one there (`budget=`" in failure.message
    assert f"and let {handle.id} go on" in failure.message

    handle = await start(rig, "Spending", 4, times=2, levels=1)
    failure = await failure_of(handle)
    assert f"give {handle.id} a larger one, and let it go on" in failure.message

    handle = await start(rig, "Spending", {}, times=2, levels=1, within=4)  # the outermost has none
    failure = await failure_of(handle)
    assert f"it is that of {handle.id}/spend/below, given in code" in failure.message


async def test_sweeps_that_are_stages_draw_from_it_too(rig: Rig) -> None:
    handle = await start(rig, "Spending", 6, times=1, direct=5)
    assert await value_of(rig, handle) == [1]


async def test_without_one_each_has_its_own(rig: Rig) -> None:
    handle = await start(rig, "Spending", {}, times=2)
    assert await value_of(rig, handle) == [4, 4]
    ended = [e for e in rig.store.outcome_log(handle.id).entries() if isinstance(e, NestedEnded)]
    assert [e.budget for e in ended] == [{"trials": 4}] * 2


async def test_a_changed_one_reaches_what_runs(rig: Rig, tmp_path: Path) -> None:
    handle = await start(rig, "Gated", 2, folder=str(tmp_path))
    await until(rig.store.names)
    [name] = rig.store.names()
    await until(lambda: len(rig.table(name).records) == 2)

    nested = rig.client.get_workflow_handle(name)
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await nested.execute_update("set_budget", 9)
    assert "its budget is a share of that of the experiment that it runs within" in str(caught.value.cause)
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await handle.execute_update("set_budget", 1)
    assert "trials: 2 are spent, got 1; give more than that, or stop it" in str(caught.value.cause)
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await handle.execute_update("set_budget", {"target": 0.5})
    assert "target: belongs to one sweep" in str(caught.value.cause)

    control = await handle.execute_update("set_budget", 4)
    assert Budget.model_validate(control["budget"]) == Budget(trials=4)
    for number in range(1, 6):
        (tmp_path / f"open-{number}").touch()
    assert await value_of(rig, handle) == 4


async def test_a_sweep_that_failed_has_spent_all_the_same(rig: Rig) -> None:
    handle = await start(rig, "Breaking", 3)
    failure = await failure_of(handle)
    assert "nothing is left for" in failure.message
    assert Spending(rig.store).by(handle.id).trials == 3
