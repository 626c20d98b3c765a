"""Runs that the code of stages starts, on a real server."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError
from temporalio.exceptions import CancelledError

from metta.sweep.client.settings import Settings
from metta.sweep.contracts.experiments import ExperimentResult
from metta.sweep.contracts.outcomes import NestedEnded, StageEnded
from metta.sweep.pipeline.packing import Packer
from metta.sweep.stores.data import DataStore
from metta.sweep.worker.main import BEAT
from tests.experiments import nesting
from tests.rig import Handle, Rig, failure_of, until, working

SCRIPT = Path(nesting.__file__)


@pytest.fixture
async def rig(server: Settings, tmp_path: Path) -> AsyncIterator[Rig]:
    # as our own worker: what is cancelled hears of it soon
    async with working(server, tmp_path / "rig", max_heartbeat_throttle_interval=BEAT) as made:
        yield made


async def start(rig: Rig, kind: str, **fields: object) -> Handle:
    definition = {"experiment": f"{SCRIPT}:{kind}", "fields": fields, "input": {}}
    name = f"experiment-{os.urandom(4).hex()}"
    return await rig.client.start_workflow("Experiment", definition, id=name, task_queue=rig.queue)


async def value_of(rig: Rig, handle: Handle) -> Any:
    result = ExperimentResult.model_validate(await handle.result())
    return Packer(DataStore(rig.store.root), pickle=False).unkept(result.value)


def notes(folder: Path) -> list[str]:
    return (folder / "notes.txt").read_text().splitlines()


async def test_an_async_stage_awaits_a_sweep(rig: Rig) -> None:
    handle = await start(rig, "Searching")
    value = await value_of(rig, handle)
    [sweep] = value.sweeps
    assert sweep.startswith(f"{handle.id}/search/train-")
    assert len(rig.table(sweep).records) == 4
    [ended] = [e for e in rig.store.outcome_log(handle.id).entries() if isinstance(e, NestedEnded)]
    assert (ended.name, ended.budget) == (sweep, {"trials": 4})


async def test_a_sync_stage_blocks(rig: Rig) -> None:
    handle = await start(rig, "Blocking")
    value = await value_of(rig, handle)
    assert value.sweeps == [f"{handle.id}/search/first", f"{handle.id}/search/second"]


async def test_two_at_once_in_a_loop_are_runs_of_their_own(rig: Rig) -> None:
    handle = await start(rig, "Gathering")
    await handle.result()
    names = rig.store.names()
    mine = sorted(name for name in names if name.startswith(handle.id))
    assert len(mine) == 4
    assert {name.split("/")[1] for name in mine} == {"search@0", "search@1"}
    assert mine[1] == f"{mine[0]}.2"


async def test_depth_has_no_limit(rig: Rig, tmp_path: Path) -> None:
    handle = await start(rig, "Deep", depth=10, folder=str(tmp_path))
    assert await value_of(rig, handle) == 10
    assert len(notes(tmp_path)) == 11


async def test_one_permit_is_enough_for_any_depth(
    server: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    async with working(server, tmp_path / "rig", max_heartbeat_throttle_interval=BEAT) as rig:
        handle = await start(rig, "Deep", depth=10, folder=str(tmp_path))
        assert await value_of(rig, handle) == 10


async def test_a_retried_stage_attaches_to_what_has_ended_and_starts_what_has_failed_again(
    rig: Rig, tmp_path: Path
) -> None:
    handle = await start(rig, "Caring", folder=str(tmp_path))
    assert await value_of(rig, handle) == 17
    lines = [line.split()[0] for line in notes(tmp_path)]
    assert lines == ["care", "1", "0", "first", "work", "care", "work"]


async def test_one_that_runs_itself_without_an_end_is_refused(rig: Rig) -> None:
    failure = await failure_of(await start(rig, "Endless"))
    assert "it runs itself again with the same fields and the same input" in failure.message


async def test_reading_what_was_not_awaited_is_refused(rig: Rig) -> None:
    failure = await failure_of(await start(rig, "Forgetful"))
    assert "is still running; write `await` in front of its run()" in failure.message


async def test_what_the_program_has_configured_holds_at_any_depth(rig: Rig) -> None:
    defaults = {"objective": f"{SCRIPT}:train", "metric": "score", "goal": "minimize"}
    definition = {"experiment": f"{SCRIPT}:Saying", "defaults": defaults}
    handle = await rig.client.start_workflow("Experiment", definition, id="saying", task_queue=rig.queue)
    await handle.result()
    [sweep] = [name for name in rig.store.names() if name.startswith("saying/")]
    assert rig.table(sweep).objective == ("score", "minimize")


async def test_wrong_defaults_are_told_at_the_start(rig: Rig) -> None:
    definition = {"experiment": f"{SCRIPT}:Saying", "defaults": {"metrik": "score", "timeout": -1}}
    handle = await rig.client.start_workflow("Experiment", definition, id="wrong", task_queue=rig.queue)
    failure = await failure_of(handle)
    assert "metrik is unknown; did you mean metric?" in failure.message
    assert "timeout: input should be greater than 0" in failure.message


async def test_another_definition_under_a_name_that_has_ended_is_refused(rig: Rig, tmp_path: Path) -> None:
    failure = await failure_of(await start(rig, "Changing", folder=str(tmp_path)))
    assert "the nested run same: the stage work has run another definition under this name" in failure.message


async def test_another_definition_of_what_has_failed_is_refused_with_the_difference(
    rig: Rig, tmp_path: Path
) -> None:
    failure = await failure_of(await start(rig, "Changing", folder=str(tmp_path), fails=True))
    assert "seed was 1 and is now 2" in failure.message


async def test_a_predicate_runs_nothing(rig: Rig) -> None:
    failure = await failure_of(await start(rig, "Asking"))
    assert "train cannot be run in a hook or a predicate; run it in the code of a stage" in failure.message


async def nested_sweep(rig: Rig, handle: Handle) -> Handle:
    """The sweep below an experiment, once its first trial runs."""

    def found() -> list[str]:
        return [name for name in rig.store.names() if name.startswith(f"{handle.id}/")]

    await until(found)
    [name] = found()
    await until(lambda: rig.table(name).records and rig.table(name).records[0].step)
    return rig.client.get_workflow_handle(name)


async def state_of(handle: Handle) -> str:
    status = await handle.query("status", result_type=dict)
    return str(status["state"])


async def test_pause_and_resume_reach_all_that_is_below(rig: Rig) -> None:
    handle = await start(rig, "Top")
    sweep = await nested_sweep(rig, handle)
    await handle.execute_update("pause")
    await until(lambda: is_in(sweep, "paused"))
    await handle.execute_update("resume")
    await until(lambda: is_in(sweep, "running"))
    await handle.cancel()


async def is_in(handle: Handle, state: str) -> bool:
    return await state_of(handle) == state


async def test_cancelling_the_top_cancels_all(rig: Rig) -> None:
    handle = await start(rig, "Top")
    sweep = await nested_sweep(rig, handle)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, CancelledError)
    assert (await sweep.describe()).status is WorkflowExecutionStatus.CANCELED
    below = rig.client.get_workflow_handle(f"{handle.id}/wait/below")
    assert (await below.describe()).status is WorkflowExecutionStatus.CANCELED
    assert not rig.table(sweep.id).running


async def test_stop_reaches_all_that_is_below_and_a_resumed_one_goes_on(rig: Rig) -> None:
    handle = await start(rig, "Top")
    sweep = await nested_sweep(rig, handle)
    await handle.execute_update("stop")
    result = ExperimentResult.model_validate(await handle.result())
    assert result.reason == "stopped"
    assert (await sweep.describe()).status is WorkflowExecutionStatus.COMPLETED
    assert not rig.table(sweep.id).running
    ended = [e for e in rig.store.outcome_log(handle.id).entries() if isinstance(e, NestedEnded | StageEnded)]
    assert ended == []


async def test_all_goes_as_well_when_every_workflow_task_replays_its_history(
    server: Settings, tmp_path: Path
) -> None:
    async with working(server, tmp_path / "rig", max_cached_workflows=0) as rig:
        handles = [await start(rig, "Gathering"), await start(rig, "Deep", depth=3)]
        budgeted = {"experiment": f"{SCRIPT}:Spending", "fields": {"at_once": True}, "input": {}, "budget": 9}
        spending = await rig.client.start_workflow(
            "Experiment", budgeted, id="spending", task_queue=rig.queue
        )
        caring = await start(rig, "Caring", folder=str(tmp_path))
        assert len((await value_of(rig, handles[0])).sweeps) == 2
        assert await value_of(rig, handles[1]) == 3
        assert sorted(await value_of(rig, spending)) == [1, 4, 4]
        assert await value_of(rig, caring) == 17


async def test_what_is_not_wanted_any_more_is_cancelled(rig: Rig) -> None:
    handle = await start(rig, "Impatient")
    assert await value_of(rig, handle) == "too late"
    for name in ("unwanted", "late"):
        described = await rig.client.get_workflow_handle(f"{handle.id}/wait/{name}").describe()
        assert described.status is WorkflowExecutionStatus.CANCELED


async def test_the_time_of_a_stage_stands_still_while_it_waits(rig: Rig) -> None:
    assert await value_of(rig, await start(rig, "Timed")) == 5


@pytest.mark.timeout(300)
async def test_a_hundred_sweeps_at_once_share_the_slots_of_the_machine(rig: Rig, tmp_path: Path) -> None:
    handle = await start(rig, "Crowd", folder=str(tmp_path), count=100)
    assert await value_of(rig, handle) == 200
    moments = sorted((float(at), kind) for kind, at in map(str.split, notes(tmp_path)))
    running, most = 0, 0
    for _, kind in moments:
        running += 1 if kind == "begin" else -1
        most = max(most, running)
    assert most == len(os.sched_getaffinity(0))
    assert running == 0
