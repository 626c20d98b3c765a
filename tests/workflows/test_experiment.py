"""The workflow of experiments, on a real server, with real stage processes."""

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import CancelledError
from temporalio.worker import Worker

from metta.sweep.client.settings import Settings
from metta.sweep.contracts.experiments import ExperimentResult, ExperimentStatus
from metta.sweep.contracts.outcomes import AttemptFailed, Finished, StageEnded
from tests.rig import Handle, Rig, failure_of, standing, until, working
from tests.workflows import pipelines

SCRIPT = Path(pipelines.__file__)

HEAVY = """
from pathlib import Path
from time import sleep

from metta.sweep import RetryPolicy
from metta.sweep.experiments.base import Pipeline

sleep(1)


def slow(x: int) -> int:
    if not Path("tried").exists():
        Path("tried").touch()
        sleep(60)
    return x + 1


at_once = RetryPolicy(max_attempts=2, initial=0)
heavy = Pipeline().through(x=int).stage("slow", slow).through(x=int, timeout=0.5, retry=at_once)
"""


async def start(rig: Rig, pipeline: str, input: object = None, **more: object) -> Handle:
    """Start an experiment as any Temporal client does, with plain JSON."""
    definition = {"experiment": f"{SCRIPT}:{pipeline}", "input": input, **more}
    name = f"experiment-{os.urandom(4).hex()}"
    return await rig.client.start_workflow("Experiment", definition, id=name, task_queue=rig.queue)


def notes(rig: Rig) -> list[str]:
    file = rig.folder / "notes"
    return file.read_text("utf-8").splitlines() if file.exists() else []


def recorded(rig: Rig, handle: Handle, kind: type) -> list[Any]:
    return [e for e in rig.store.outcome_log(handle.id).entries() if isinstance(e, kind)]


async def status_of(handle: Handle) -> ExperimentStatus:
    status: ExperimentStatus = await handle.query("status", result_type=ExperimentStatus)
    return status


async def result_of(handle: Handle) -> ExperimentResult:
    return ExperimentResult.model_validate(await handle.result())


async def test_stages_run_one_after_the_other_and_are_recorded(rig: Rig) -> None:
    handle = await start(rig, "plain", {"weight": 3.0})
    result = await result_of(handle)
    assert (result.reason, result.value.packed) == ("completed", 6.0)
    assert notes(rig) == ["train", "evaluate"]
    assert [str(entry.at) for entry in recorded(rig, handle, StageEnded)] == ["train", "evaluate"]
    [finished] = recorded(rig, handle, Finished)
    assert finished.value.packed == 6.0


async def test_a_loop_asks_its_predicate_along_with_its_last_stage(rig: Rig) -> None:
    handle = await start(rig, "loop", {"total": 2})
    await result_of(handle)
    status = await status_of(handle)
    assert [row.stage for row in status.rows] == ["@through", "count[0]", "count[1]", "count[2]"]
    history = await handle.fetch_history()
    kinds = [
        e.activity_task_scheduled_event_attributes.activity_type.name
        for e in history.events
        if e.HasField("activity_task_scheduled_event_attributes")
    ]
    assert kinds.count("ask_predicate") == 0
    keys = [line.split()[1] for line in notes(rig)]
    assert keys == [f"{handle.id}/count[{turn}]" for turn in range(3)]
    assert len({line.split()[2] for line in notes(rig)}) == 3


async def test_branches_run_side_by_side_and_a_predicate_chooses(rig: Rig) -> None:
    result = await result_of(await start(rig, "branches", {"x": 1}))
    assert result.value.packed == "less 2"


async def test_a_stage_is_tried_again_and_its_failures_are_recorded(rig: Rig) -> None:
    handle = await start(rig, "retried", {"x": 1})
    await result_of(handle)
    assert notes(rig) == ["flaky"] * 3
    attempts = recorded(rig, handle, AttemptFailed)
    failures = [entry.failure for entry in attempts]
    assert [(failure.attempts, failure.message) for failure in failures] == [
        (1, "ValueError: not yet"),
        (2, "ValueError: not yet"),
    ]
    ended = recorded(rig, handle, StageEnded)[-1]
    assert ended.outcome.attempts == 3
    assert {(entry.code, entry.input) for entry in attempts} == {(ended.code, ended.input)}
    assert ended.code
    assert ended.input


async def test_a_stage_that_fails_for_good_fails_the_experiment(rig: Rig) -> None:
    failure = await failure_of(handle := await start(rig, "failing", {"x": 1}))
    assert failure.type == "StageFailed"
    assert "stage wrong failed after 2 attempts: KeyError: 'nothing there'" in failure.message
    assert notes(rig) == ["wrong", "wrong"]
    [finished] = recorded(rig, handle, Finished)
    assert finished.reason == "failed"


@pytest.mark.parametrize(
    ("pipeline", "error"),
    [("recovered", "KeyError"), ("crashing", "StageFailed"), ("hanging", "TimeoutError")],
)
async def test_on_error_sees_failures_crashes_and_timeouts(rig: Rig, pipeline: str, error: str) -> None:
    handle = await start(rig, pipeline, {"x": 1})
    await result_of(handle)
    assert notes(rig)[-1] == f"on_error {error}"
    ended = recorded(rig, handle, StageEnded)[-1]
    assert ended.outcome.status == "recovered"
    # also of a process that has ended, or was ended, before it could tell of its failure
    failed = recorded(rig, handle, AttemptFailed)[-1]
    assert (failed.code, failed.input) == (ended.code, ended.input)
    assert failed.code


async def test_a_stage_that_ends_its_process_fails_alone(rig: Rig) -> None:
    failure = await failure_of(await start(rig, "leaving", {"x": 1}))
    assert "the process exited with code 3" in failure.message


async def test_what_is_imported_anew_after_a_timeout_does_not_count_against_it(rig: Rig) -> None:
    script = rig.folder / "heavy.py"
    script.write_text(HEAVY, "utf-8")
    handle = await start(rig, "heavy", {"x": 1}, experiment=f"{script}:heavy")
    assert (await result_of(handle)).value.packed == {"$record": {"x": 2}}
    assert recorded(rig, handle, StageEnded)[-1].outcome.attempts == 2


async def test_what_a_stage_logs_and_prints_lies_beside_its_record(rig: Rig) -> None:
    handle = await start(rig, "talking", {"x": 1})
    await result_of(handle)
    log = (rig.store.experiment_folder(handle.id) / "logs/talk.txt").read_text("utf-8")
    assert log.splitlines() == ["printed", "INFO mine: logged", "INFO metta.sweep.pipeline: talk: x is 1"]


async def test_a_killed_process_does_not_use_up_an_attempt(rig: Rig) -> None:
    handle = await start(rig, "gates", {"x": 1})
    await until(lambda: notes(rig) == ["gated"])
    [process] = stage_processes()
    process.send_signal(signal.SIGKILL)
    await until(lambda: notes(rig) == ["gated", "gated"])
    (rig.folder / "gate").touch()
    await result_of(handle)
    assert recorded(rig, handle, AttemptFailed) == []
    assert recorded(rig, handle, StageEnded)[1].outcome.attempts == 1


def stage_processes() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [child for child in children if "metta.sweep.stages.program" in child.cmdline()]


async def test_a_paused_experiment_begins_no_stage_until_it_is_resumed(rig: Rig) -> None:
    handle = await start(rig, "gates", {"x": 1})
    await until(lambda: notes(rig) == ["gated"])
    await handle.execute_update("pause")
    (rig.folder / "gate").touch()
    await until(lambda: len(recorded(rig, handle, StageEnded)) == 2)
    await asyncio.sleep(0.3)
    status = await status_of(handle)
    assert (status.state, status.ended) == ("paused", 2)
    await handle.execute_update("resume")
    assert (await result_of(handle)).reason == "completed"


async def test_a_stopped_experiment_ends_between_stages_and_goes_on_later(rig: Rig) -> None:
    handle = await start(rig, "gates", {"x": 1})
    await until(lambda: notes(rig) == ["gated"])
    await handle.execute_update("stop")
    (rig.folder / "gate").touch()
    assert (await result_of(handle)).reason == "stopped"
    definition = {"experiment": f"{SCRIPT}:gates", "resume": True}
    again = await rig.client.start_workflow("Experiment", definition, id=handle.id, task_queue=rig.queue)
    assert (await result_of(again)).reason == "completed"
    assert notes(rig) == ["gated"]


async def test_a_cancelled_experiment_kills_its_stage(rig: Rig) -> None:
    handle = await start(rig, "gates", {"x": 1})
    await until(lambda: notes(rig) == ["gated"])
    await handle.cancel()
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, CancelledError)
    assert (await status_of(handle)).state == "cancelled"
    await until(lambda: not stage_processes())


async def test_a_pipeline_that_does_not_fit_together_fails_at_once(rig: Rig) -> None:
    failure = await failure_of(await start(rig, "misfit"))
    assert failure.type == "DefinitionError"
    assert "stage evaluate" in failure.message
    assert "pipelines.py:" in failure.message


async def test_an_experiment_of_the_same_name_is_refused_unless_it_is_resumed(rig: Rig) -> None:
    handle = await start(rig, "plain", {"weight": 3.0})
    await result_of(handle)
    definition = {"experiment": f"{SCRIPT}:plain", "input": {"weight": 3.0}}
    again = await rig.client.start_workflow("Experiment", definition, id=handle.id, task_queue=rig.queue)
    assert (await failure_of(again)).type == "NameInUse"


async def test_another_pipeline_does_not_go_on_under_the_name_of_one(rig: Rig) -> None:
    handle = await start(rig, "plain", {"weight": 3.0})
    await result_of(handle)
    definition = {"experiment": f"{SCRIPT}:gates", "resume": True}
    again = await rig.client.start_workflow("Experiment", definition, id=handle.id, task_queue=rig.queue)
    failure = await failure_of(again)
    assert failure.type == "DefinitionChanged"
    assert "-train" in failure.message
    assert "+gated" in failure.message


async def test_a_stage_whose_worker_ends_runs_again_and_recorded_ones_do_not(
    server: Settings, tmp_path: Path
) -> None:
    rig = await standing(server, tmp_path / "rig")
    async with Worker(rig.client, task_queue=rig.queue):
        handle = await start(rig, "gates", {"x": 1})
        await until(lambda: notes(rig) == ["gated"])
    async with working(server, tmp_path / "rig") as other, Worker(other.client, task_queue=rig.queue):
        await until(lambda: notes(rig) == ["gated", "gated"])
        (rig.folder / "gate").touch()
        assert (await result_of(handle)).reason == "completed"
    assert recorded(rig, handle, AttemptFailed) == []


async def test_sweeps_are_stages_that_run_as_children(rig: Rig) -> None:
    handle = await start(rig, "searched")
    result = await result_of(handle)
    assert notes(rig).count("trial") == 6
    for name in ("one", "other"):
        table = rig.table(f"{handle.id}/@parallel/{name}")
        assert table.counts.completed == 3
        assert (best := table.best)
        assert result.value.packed[name]["x"] == best.params["x"]  # type: ignore[index, call-overload]


async def test_on_error_sees_a_sweep_that_has_failed(rig: Rig) -> None:
    handle = await start(rig, "unlucky")
    await result_of(handle)
    assert notes(rig) == ["on_error StageFailed"]


async def test_a_sweep_that_is_skipped_is_not_begun(rig: Rig) -> None:
    handle = await start(rig, "skipped", {"x": 1})
    assert (await result_of(handle)).value.packed == 2
    assert recorded(rig, handle, StageEnded)[1].outcome.status == "skipped"
    assert not rig.table(f"{handle.id}/search").spec


async def test_the_command_of_temporal_starts_one_with_plain_json(rig: Rig) -> None:
    spec = json.dumps({"experiment": f"{SCRIPT}:plain", "input": {"weight": 2.0}})
    await rig.workflow("by-hand", "start", "--type", "Experiment", "--task-queue", rig.queue, "--input", spec)
    result = await result_of(rig.client.get_workflow_handle("by-hand"))
    assert result.value.packed == 4.0
    assert "evaluate  done" in await rig.workflow("by-hand", "metadata")


@pytest.mark.parametrize(
    ("definition", "mistakes"),
    [
        (
            {"experimnt": "lab:plan"},
            ["experimnt is unknown; did you mean experiment?", "experiment is missing"],
        ),
        ({"experiment": "nonesuch:plan"}, ["nonesuch"]),
        ({"experiment": f"{SCRIPT}:nonesuch"}, ["there is no 'nonesuch'"]),
        ({"experiment": f"{SCRIPT}:train"}, ["train has to be an Experiment or a Pipeline"]),
        ({"experiment": f"{SCRIPT}:plain", "fields": {"a": 1}}, ["a pipeline has no fields, got a"]),
        ({"experiment": f"{SCRIPT}:Sized", "fields": {"sise": 1}}, ["sise is unknown; did you mean size?"]),
        (
            {"experiment": f"{SCRIPT}:Sized", "fields": {"size": "x"}},
            ["size: input should be a valid integer"],
        ),
    ],
)
async def test_wrong_json_fails_at_once_with_every_mistake(
    rig: Rig, definition: dict[str, object], mistakes: list[str]
) -> None:
    handle = await rig.client.start_workflow(
        "Experiment", definition, id=f"wrong-{os.urandom(4).hex()}", task_queue=rig.queue
    )
    failure = await failure_of(handle)
    assert failure.type in ("DefinitionError", "PipelineDefinitionError")
    for mistake in mistakes:
        assert mistake in failure.message


async def test_fields_of_an_experiment_come_as_json(rig: Rig) -> None:
    spec = {"experiment": f"{SCRIPT}:Sized", "fields": {"size": 3}}
    handle = await rig.client.start_workflow("Experiment", spec, id="sized", task_queue=rig.queue)
    assert (await result_of(handle)).value.packed == 9


async def test_an_experiment_is_a_stage_that_runs_as_a_child(rig: Rig) -> None:
    handle = await start(rig, "nested")
    assert (await result_of(handle)).value.packed == 17
    child = rig.client.get_workflow_handle(f"{handle.id}/square")
    assert (await result_of(child)).value.packed == 16


async def test_a_callable_object_is_a_stage_although_it_has_no_hash(rig: Rig) -> None:
    assert (await result_of(await start(rig, "objects", {"x": 1}))).value.packed == 3
