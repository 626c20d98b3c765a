"""Workflows that begin an experiment again from a stage on, as any Temporal client starts them."""

import os
from pathlib import Path

from metta.sweep.contracts.outcomes import Began, Decided, NestedEnded, StageEnded
from tests.experiments import nesting
from tests.rig import Handle, Rig, failure_of
from tests.workflows.test_experiment import SCRIPT, notes, recorded, result_of, start
from tests.workflows.test_sweep_runs import reset

NESTING = Path(nesting.__file__)


async def again(rig: Rig, handle: Handle, pipeline: str, **more: object) -> Handle:
    definition = {"experiment": f"{SCRIPT}:{pipeline}", **more}
    return await rig.client.start_workflow("Experiment", definition, id=handle.id, task_queue=rig.queue)


async def test_a_run_forgets_what_lies_behind_a_stage_and_one_that_is_reset_does_not_forget_more(
    rig: Rig,
) -> None:
    handle = await start(rig, "loop", {"total": 2})
    await result_of(handle)
    ended = recorded(rig, handle, StageEnded)
    handle = await again(rig, handle, "loop", resume=True, from_stage="count[1]")
    await result_of(handle)
    assert [line.rpartition("/")[2].split()[0] for line in notes(rig)] == [
        "count[0]",
        "count[1]",
        "count[2]",
        "count[1]",
        "count[2]",
    ]
    assert [str(e.at) for e in recorded(rig, handle, StageEnded)[len(ended) :]] == ["count[1]", "count[2]"]
    await result_of(await reset(rig, handle))
    first, second, third = recorded(rig, handle, Began)
    assert second.forgotten == {"@loop": (2,), "count": (1,)}
    assert (first.forgotten, third.forgotten) == ({}, {})
    assert len(notes(rig)) == 5


async def test_wrong_stages_fail_the_workflow_with_the_mistake(rig: Rig) -> None:
    handle = await start(rig, "plain", {"weight": 3.0})
    await result_of(handle)
    failure = await failure_of(await again(rig, handle, "plain", resume=True, from_stage="tran"))
    assert failure.type == "DefinitionError"
    assert failure.message.endswith("there is no stage tran; did you mean train?")
    assert len(recorded(rig, handle, Began)) == 1


async def test_runs_that_a_forgotten_stage_had_started_are_run_anew(testing_rig: Rig) -> None:
    rig = testing_rig
    spec = {"experiment": f"{NESTING}:Blocking", "input": {}}
    name = f"blocking-{os.urandom(4).hex()}"
    handle = await rig.client.start_workflow("Experiment", spec, id=name, task_queue=rig.queue)
    await handle.result()
    more = {"resume": True, "from_stage": "search"}
    again = await rig.client.start_workflow("Experiment", {**spec, **more}, id=name, task_queue=rig.queue)
    await again.result()
    sweeps = {"first": 2, "second": 2, "first~1": 2, "second~1": 2}
    assert {n.rpartition("/")[2]: len(rig.table(n).records) for n in rig.store.names()} == sweeps
    assert [entry.key for entry in recorded(rig, handle, NestedEnded)] == [*sweeps]


async def test_decisions_that_lie_behind_are_asked_again(rig: Rig) -> None:
    handle = await start(rig, "branches", {"x": 1})
    await result_of(handle)
    assert len(recorded(rig, handle, Decided)) == 1
    await result_of(await again(rig, handle, "branches", resume=True, from_stage="@parallel/left"))
    assert len(recorded(rig, handle, Decided)) == 2
    stages = [str(e.at) for e in recorded(rig, handle, StageEnded)]
    assert stages[-2:] == ["@parallel/left", "@if/then"]
    assert stages.count("@parallel/right") == 1


async def test_what_is_cached_is_run_again_where_somebody_wants_that(rig: Rig) -> None:
    handle = await start(rig, "squares", {"x": 3})
    await result_of(handle)
    await result_of(await start(rig, "squares", {"x": 3}))
    assert len(notes(rig)) == 1
    await result_of(await again(rig, handle, "squares", resume=True, from_stage="square"))
    assert len(notes(rig)) == 2
