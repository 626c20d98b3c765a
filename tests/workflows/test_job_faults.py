"""What goes wrong around trials that are jobs: on a real server, with real processes."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from metta.sweep.activities import attending, trials
from metta.sweep.client.settings import Settings
from metta.sweep.worker.main import _bury
from metta.sweep.workflows import job_lane
from tests.rig import TEMPORAL, Handle, Rig, definition, failure_of, standing, status_of, until
from tests.workflows.faults import (
    AT_ONCE,
    END_S,
    brisk,
    child_of,
    cleared,
    ended,
    is_deserted,
    serving,
    settings_of,
)
from tests.workflows.jobs import GATED, TRAIN, job
from tests.workflows.test_job_lane import jobs_of, notes, started
from tests.workflows.test_sweep_runs import SOON, reset


@pytest.fixture
async def rig(server: Settings, tmp_path: Path) -> AsyncIterator[Rig]:
    async with brisk(server, tmp_path / "rig") as made:
        yield made


async def is_asked_to_end(trial: Handle) -> bool:
    """Whether the workflow of a trial has cancelled its activity."""
    asked = EventType.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED
    return any(event.event_type == asked for event in (await trial.fetch_history()).events)


# --- ends that meet other ends ---


async def test_a_stopped_objective_whose_worker_ends_before_it_hears_of_it_is_stopped(rig: Rig) -> None:
    executor = {"type": "worker", "options": {"max_parallel": 1}}
    handle = await rig.start(definition("gated", budget=1, executor=executor))
    async with serving(rig):
        await until(lambda: any(record.step for record in rig.table(handle.id).records))
        await handle.execute_update("stop")
        await until(lambda: is_asked_to_end(child_of(rig, handle)))
    async with serving(rig):
        assert await ended(handle) == "stopped"
        [reports] = rig.store.sweep_folder(handle.id).rglob("reports.jsonl")
        size = reports.stat().st_size
        await asyncio.sleep(0.3)  # in which one that runs reports often
        assert reports.stat().st_size == size
    assert rig.table(handle.id).counts.stopped == 1


async def test_a_stopped_job_whose_worker_ends_before_it_hears_of_it_is_stopped(
    server: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "rig"
    with cleared(folder):
        rig = await standing(server, folder)
        async with Worker(rig.client, task_queue=rig.queue, graceful_shutdown_timeout=AT_ONCE):
            handle = await started(rig, budget=1)
            await handle.execute_update("stop")
            await until(lambda: is_asked_to_end(child_of(rig, handle)))
        assert jobs_of(rig)
        async with Worker((await standing(server, folder)).client, task_queue=rig.queue):
            assert await ended(handle) == "stopped"
        assert rig.table(handle.id).counts.stopped == 1
        await is_deserted(rig)


async def test_a_sweep_that_is_stopped_right_after_somebody_terminated_a_trial_ends_its_job(rig: Rig) -> None:
    handle = await started(rig, budget=1)
    await child_of(rig, handle).terminate("by hand")
    await handle.execute_update("stop")
    assert await ended(handle) == "stopped"
    assert rig.table(handle.id).counts.stopped == 1
    await is_deserted(rig)


async def test_a_trial_that_somebody_terminates_while_it_is_stopped_ends_its_job(rig: Rig) -> None:
    handle = await started(rig, budget=1)
    await handle.execute_update("stop")
    await until(lambda: rig.table(handle.id).records[0].stopping)
    await child_of(rig, handle).terminate("by hand")
    assert await ended(handle) == "stopped"
    assert rig.table(handle.id).counts.stopped == 1
    await is_deserted(rig)


async def test_a_sweep_that_was_terminated_while_it_stopped_is_resumed_and_stopped(rig: Rig) -> None:
    handle = await started(rig, budget=1)
    await handle.execute_update("stop")
    await until(lambda: rig.table(handle.id).records[0].stopping)
    await handle.terminate()
    with suppress(Exception):  # it may just have ended
        await child_of(rig, handle).terminate()
    again = await rig.start(job(GATED, budget=2, resume=True), handle.id)
    await until(lambda: rig.table(handle.id).epoch == 2)
    await again.execute_update("stop")
    assert await ended(again) == "stopped"
    counts = rig.table(handle.id).counts
    assert (counts.running, counts.stopped) == (0, counts.started)
    await is_deserted(rig)


async def test_a_trial_that_was_to_be_stopped_is_stopped_by_the_sweep_that_is_resumed(rig: Rig) -> None:
    handle = await started(rig, budget=1)
    await handle.execute_update("stop")
    await until(lambda: rig.table(handle.id).records[0].stopping)
    await handle.terminate()
    with suppress(Exception):  # it may just have ended
        await child_of(rig, handle).terminate()
    again = await rig.start(job(GATED, budget=2, resume=True), handle.id)
    await until(lambda: rig.table(handle.id).counts.stopped == 1)
    rig.open_gate()
    assert await ended(again) == "budget"
    counts = rig.table(handle.id).counts
    assert (counts.stopped, counts.completed) == (1, 1)
    await is_deserted(rig)


async def test_trials_of_a_terminated_sweep_that_have_stopped_themselves_run_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(attending, "CLOSED_S", 0.3)
        handle = await started(rig, trials=2, budget=2, executor={"type": "local", "max_parallel": 2})
        await handle.terminate("by hand")
        await is_deserted(rig)
    rig.open_gate()
    again = await rig.start(
        job(GATED, budget=2, resume=True, executor={"type": "local", "max_parallel": 2}), handle.id
    )
    assert await ended(again) == "budget"
    assert [record.status for record in rig.table(handle.id).records] == ["completed"] * 2
    assert sorted(notes(rig)) == ["trial 0", "trial 0", "trial 1", "trial 1"]


async def test_a_trial_that_somebody_cancels_has_failed_and_is_not_tried_again(rig: Rig) -> None:
    handle = await started(rig, budget=2, retry={"max_attempts": 3, "initial": 0.05})
    await rig.workflow(f"{handle.id}/trial-0/seg-0/try-1", "cancel")
    await until(lambda: len(notes(rig)) == 2)
    rig.open_gate()
    assert await ended(handle) == "budget"
    assert notes(rig) == ["trial 0", "trial 1"]
    first, second = rig.table(handle.id).records
    assert first.failure
    assert (first.status, first.failure.kind, first.attempt) == ("failed", "cancelled", 1)
    assert second.status == "completed"


async def test_a_sweep_that_is_cancelled_as_its_history_is_full_ends_all_its_jobs(tmp_path: Path) -> None:
    full, parallel = 70, 4
    suggestion = ("--dynamic-config-value", f"limit.historyCount.suggestContinueAsNew={full}")
    async with (
        await WorkflowEnvironment.start_local(
            dev_server_existing_path=TEMPORAL, dev_server_extra_args=[*suggestion, *SOON[2:]]
        ) as environment,
        brisk(settings_of(environment), tmp_path / "rig") as rig,
    ):
        executor = {"type": "local", "max_parallel": parallel}
        handle = await started(rig, trials=parallel, budget=parallel, executor=executor)
        newest = rig.client.get_workflow_handle(handle.id)
        # each change costs several events; to end four trials costs more than are left
        for budget in range(9, 99):
            if (await newest.describe()).history_length >= full - 12:
                break
            await newest.execute_update("set_budget", budget)
        await newest.cancel()
        with pytest.raises(WorkflowFailureError) as caught:
            await ended(newest)
        assert isinstance(caught.value.cause, CancelledError)
        counts = rig.table(handle.id).counts
        assert (counts.running, counts.stopped) == (0, counts.started)
        assert counts.started >= parallel
        assert (await status_of(newest)).state == "cancelled"
        await is_deserted(rig)


# --- the machinery fails ---


async def test_a_trial_whose_activity_fails_without_news_is_tried_again(rig: Rig) -> None:
    handle = await started(rig, budget=1)
    trial = child_of(rig, handle)
    activity = rig.client.get_async_activity_handle(workflow_id=trial.id, run_id=None, activity_id="1")
    await activity.fail(ApplicationError("by hand", {"no": "news"}, non_retryable=True))
    async with asyncio.timeout(END_S):
        assert (await failure_of(trial)).type == "infra"
    await until(lambda: rig.table(handle.id).records[0].attempt == 2)
    rig.open_gate()
    assert await ended(handle) == "budget"
    [record] = rig.table(handle.id).records
    assert (record.status, record.attempt, record.failed) == ("completed", 2, 0)
    await is_deserted(rig)


async def test_an_executor_that_takes_no_job_fails_the_sweep(rig: Rig) -> None:
    executor = {"type": "tests.workflows.faulty:Refusing"}
    handle = await rig.start(
        job("true", budget=1, max_failures=1, executor=executor, retry={"initial": 0.01})
    )
    async with asyncio.timeout(END_S):
        failure = await failure_of(handle)
    assert failure.type == "SweepFailed"
    told = "the job could not be submitted, and its executor does not want it to be tried again: "
    told += "the quota of the cluster is 0; mend that, and go on with resume=True (`--resume`)"
    assert told in failure.message
    [record] = rig.table(handle.id).records
    assert record.failure
    assert (record.failure.kind, record.failure.message, record.attempt) == ("infra", told, 6)


async def obstructed(rig: Rig) -> Handle:
    """A sweep whose trials lie on another disk, which is not there; once that is told."""
    folder = rig.store.sweep_folder(name := f"sweep-{uuid4()}")
    folder.mkdir(parents=True)
    (folder / "trials").symlink_to(rig.folder / "disk")
    handle = await rig.start(job(TRAIN, budget=1), name)

    async def is_told() -> bool:
        with suppress(RPCError):  # it has not begun
            described = (await child_of(rig, handle).describe()).raw_description
            return any(pending.last_failure.message for pending in described.pending_activities)
        return False

    await until(is_told)
    return handle


async def test_a_job_that_cannot_be_submitted_for_now_says_why_and_begins_when_it_can(rig: Rig) -> None:
    handle = await obstructed(rig)
    [pending] = (await child_of(rig, handle).describe()).raw_description.pending_activities
    folder = rig.store.sweep_folder(handle.id) / "trials"
    told = "the job could not be submitted for now, and is tried again until it can be: [Errno 17] "
    assert pending.last_failure.message.startswith(told)
    assert str(folder) in pending.last_failure.message
    assert pending.last_failure.message.endswith("; mend that, or stop the sweep")
    (rig.folder / "disk").mkdir()
    assert await ended(handle) == "budget"
    assert rig.table(handle.id).counts.completed == 1


async def test_a_sweep_whose_job_cannot_be_submitted_is_stopped(rig: Rig) -> None:
    handle = await obstructed(rig)
    await handle.execute_update("stop")
    assert await ended(handle) == "stopped"
    assert rig.table(handle.id).counts.stopped == 1


async def test_a_trial_whose_folder_is_deleted_while_its_job_runs_comes_to_an_end(rig: Rig) -> None:
    handle = await started(rig, budget=1)
    await until(lambda: rig.table(handle.id).records[0].step == 1)
    shutil.rmtree(rig.store.sweep_folder(handle.id) / "trials")
    rig.open_gate()
    assert await ended(handle) == "budget"
    assert rig.table(handle.id).counts.completed == 1
    await is_deserted(rig)


@pytest.mark.parametrize(
    "program", ["setsid sleep 77 & sleep 0.3", "setsid sh -c 'sleep 78 & sleep 77' & sleep 0.3"]
)
async def test_what_a_job_leaves_behind_in_a_session_of_its_own_ends_with_it(rig: Rig, program: str) -> None:
    handle = await rig.start(job(f"{TRAIN}; {program}", budget=1))
    assert await ended(handle) == "budget"
    await is_deserted(rig)


async def test_what_a_killed_job_has_started_in_a_session_of_its_own_ends_with_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "GRACE_S", 0.5)
    workers = "setsid sh -c 'trap \"\" TERM; while true; do sleep 0.1; done' &"
    handle = await started(rig, f"{workers} trap '' TERM; {GATED}", budget=1)
    await handle.execute_update("stop")
    assert await ended(handle) == "stopped"
    await is_deserted(rig)


async def test_a_worker_that_replaces_a_dead_one_leaves_objectives_of_other_workers_alone(rig: Rig) -> None:
    executor = {"type": "worker", "options": {"max_parallel": 1}}
    handle = await rig.start(definition("gated", budget=1, executor=executor))
    async with serving(rig, identity="on another machine"):
        await until(lambda: any(record.step for record in rig.table(handle.id).records))
        await _bury(rig.client, await handle.describe(), set())
        [pending] = (await child_of(rig, handle).describe()).raw_description.pending_activities
        assert (pending.attempt, pending.last_failure.message) == (1, "")
        rig.open_gate()
        assert await ended(handle) == "budget"


# --- resets ---


async def mistakes_of(handle: Handle) -> list[str]:
    """Why tasks of a workflow have failed; neither by a reset, nor because a signal came at that moment."""
    failed = [
        event.workflow_task_failed_event_attributes
        for event in (await handle.fetch_history()).events
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
    ]
    no_mistakes = (
        WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW,
        WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND,
    )
    return [task.failure.message for task in failed if task.cause not in no_mistakes]


@pytest.mark.parametrize("task", [1, 4, -1])
async def test_a_sweep_of_jobs_that_is_reset_while_it_runs_goes_on_to_its_end(rig: Rig, task: int) -> None:
    handle = await started(rig, budget={"trials": 3, "seconds": 1000})
    await until(lambda: rig.table(handle.id).records[0].step == 1)
    new = await reset(rig, handle, task)
    rig.open_gate()
    assert await ended(new) == "budget"
    assert await mistakes_of(new) == []
    assert rig.table(handle.id).counts.completed == 3
    assert notes(rig) == ["trial 0", "trial 1", "trial 2"]


@pytest.mark.parametrize("task", [0, 1, 3])
@pytest.mark.parametrize("kind", ["jobs", "objectives"])
async def test_a_finished_sweep_that_is_reset_runs_nothing_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, kind: str, task: int
) -> None:
    # of trials that had begun by then, and are over, nothing is heard
    monkeypatch.setattr(job_lane, "LOOKING", timedelta(seconds=1))
    (rig.folder / "noting.py").write_text(NOTING, "utf-8")
    options: dict[str, object] = {"budget": 6, "metric": "accuracy"}
    if kind == "jobs":
        sweep = job(TRAIN, executor={"type": "local", "max_parallel": 2}, **options)
    else:
        worker = {"type": "worker", "options": {"max_parallel": 2}}
        sweep = definition("noting:train", executor=worker, **options)
    async with serving(rig):
        handle = await rig.start(sweep)
        assert await ended(handle) == "budget"
        new = await reset(rig, handle, task)
        assert await ended(new) == "budget"
    assert await mistakes_of(new) == []
    assert sorted(notes(rig)) == [f"trial {number}" for number in range(6)]
    assert rig.table(handle.id).counts.completed == 6


NOTING = """
def train(trial):
    with open("notes", "a") as notes:
        notes.write(f"trial {trial.number}\\n")
    return {"accuracy": trial.params["x"]}
"""
