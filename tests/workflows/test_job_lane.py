"""Sweeps whose trials are jobs, on a real server, with real processes."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError
from temporalio.exceptions import CancelledError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from metta.sweep.activities import attending, trials
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.budgets import Budget
from tests.rig import (
    TEMPORAL,
    Handle,
    Rig,
    definition,
    failure_of,
    standing,
    status_of,
    until,
    working,
)
from tests.workflows.jobs import GATED, STUBBORN, TRAIN, job
from tests.workflows.test_sweep_runs import SOON

BEAT = timedelta(seconds=0.5)


@pytest.fixture
async def brisk(server: Settings, tmp_path: Path) -> AsyncIterator[Rig]:
    """A rig whose worker soon hears that something is cancelled."""
    async with working(server, tmp_path / "rig", max_heartbeat_throttle_interval=BEAT) as made:
        yield made


def notes(rig: Rig) -> list[str]:
    file = rig.folder / "notes"
    return file.read_text("utf-8").splitlines() if file.exists() else []


def jobs_of(rig: Rig) -> list[psutil.Process]:
    """Processes that stand in the folder of a rig."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(rig.folder) and process.pid != psutil.Process().pid:
                found.append(process)
        except psutil.Error:
            continue
    return found


async def started(rig: Rig, program: str = GATED, trials: int = 1, **changes: object) -> Handle:
    """Start a sweep, and wait until so many of its trials run."""
    handle = await rig.start(job(program, **changes))
    await until(lambda: len(notes(rig)) == trials)
    return handle


async def trial_status(rig: Rig, handle: Handle, trial: int = 0) -> WorkflowExecutionStatus | None:
    child = rig.client.get_workflow_handle(f"{handle.id}/trial-{trial}/seg-0/try-1")
    return (await child.describe()).status


async def test_trials_are_jobs_with_workflows_of_their_own(rig: Rig) -> None:
    handle = await rig.start(job(TRAIN, budget=3))
    result = await handle.result()
    assert result["reason"] == "budget"
    assert sorted(notes(rig)) == ["trial 0", "trial 1", "trial 2"]
    table = rig.table(handle.id)
    assert (table.counts.completed, table.epoch) == (3, 1)
    assert all(record.metrics == {"accuracy": record.params["x"]} for record in table.records)
    status = await status_of(handle)
    assert (status.state, status.reason, status.progress.counts.completed) == ("finished", "budget", 3)
    for trial in range(3):
        assert await trial_status(rig, handle, trial) is WorkflowExecutionStatus.COMPLETED


async def test_the_same_seed_gives_the_same_trials_as_in_a_session(rig: Rig) -> None:
    asha = {"type": "asha", "options": {"max_resource": 4, "reduction_factor": 2}}
    program = (
        "import json, os\n"
        "told = json.load(open(os.environ['METTA_SWEEP_TRIAL']))\n"
        "with open(os.environ['METTA_SWEEP_REPORTS'], 'a') as reports:\n"
        "    for step in range((told['step'] or 0) + 1, told['until_step'] + 1):\n"
        "        metrics = {'accuracy': told['params']['x'] * step}\n"
        "        reports.write(json.dumps({'step': step, 'metrics': metrics}) + '\\n')\n"
    )
    (rig.folder / "program.py").write_text(program, "utf-8")
    (rig.folder / "steps.py").write_text(
        "def train(trial):\n"
        "    for step in range(1, 5):\n"
        "        trial.report(step=step, accuracy=trial.params['x'] * step)\n",
        "utf-8",
    )
    searched = {"scheduler": asha, "budget": 8, "metric": "accuracy"}
    lanes = [
        definition("steps:train", **searched),
        job("", **searched) | {"objective": {"command": ["{python}", "program.py"]}},
    ]
    tables = []
    for lane in lanes:
        handle = await rig.start(lane)
        await handle.result()
        tables.append(rig.table(handle.id))
    session, jobs = tables
    told = [
        [(r.params, r.seed, r.status, r.segment, r.step, r.metrics) for r in table.records]
        for table in (session, jobs)
    ]
    assert told[0] == told[1]
    assert {r.segment for r in jobs.records} == {0, 1, 2}


async def test_failed_trials_show_kind_evidence_and_the_end_of_their_output(rig: Rig) -> None:
    program = "echo 'out of luck'; exit 3"
    handle = await rig.start(job(program, budget=2, max_failures=2))
    failure = await failure_of(handle)
    assert failure.type == "SweepFailed"
    assert "it exited with code 3" in failure.message
    [first, _] = rig.table(handle.id).records
    assert first.failure
    assert (first.failure.kind, first.failure.message) == ("user", "it exited with code 3")
    assert first.failure.traceback == "out of luck\n"
    child = rig.client.get_workflow_handle(f"{handle.id}/trial-0/seg-0/try-1")
    shown = await failure_of(child)
    assert (shown.type, shown.message) == ("user", "it exited with code 3\n\nout of luck\n")


async def test_a_failed_trial_is_tried_again(rig: Rig) -> None:
    program = f"if [ -e tried ]; then {TRAIN}; else touch tried; exit 1; fi"
    handle = await rig.start(job(program, budget=1, retry={"max_attempts": 2, "initial": 0.1}))
    await handle.result()
    [record] = rig.table(handle.id).records
    assert (record.status, record.attempt, record.failed) == ("completed", 2, 1)


async def test_a_stopped_sweep_ends_its_jobs(brisk: Rig) -> None:
    handle = await started(brisk, budget=5)
    await handle.execute_update("stop")
    assert (await handle.result())["reason"] == "stopped"
    table = brisk.table(handle.id)
    assert (table.counts.started, table.counts.stopped) == (1, 1)
    assert not jobs_of(brisk)


async def test_a_cancelled_sweep_ends_its_jobs_and_says_so(brisk: Rig) -> None:
    handle = await started(brisk, trials=2, budget=5, executor={"type": "local", "max_parallel": 2})
    await handle.cancel()
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, CancelledError)
    assert brisk.table(handle.id).counts.stopped == 2
    assert (await status_of(handle)).state == "cancelled"
    assert not jobs_of(brisk)


async def test_budget_and_concurrency_change_while_jobs_run(rig: Rig) -> None:
    handle = await started(rig, trials=2, budget=2, executor={"type": "local", "max_parallel": 4})
    await handle.execute_update("set_budget", 4)
    await until(lambda: len(notes(rig)) == 4)
    await handle.execute_update("set_concurrency", 1)
    await handle.execute_update("set_budget", Budget(trials=6))
    await asyncio.sleep(0.5)
    assert len(notes(rig)) == 4
    rig.open_gate()
    await handle.result()
    assert rig.table(handle.id).counts.completed == 6


async def test_a_paused_sweep_begins_nothing_and_interrupts_when_it_is_to_be_now(brisk: Rig) -> None:
    handle = await started(brisk, budget=2)
    await handle.execute_update("pause", "now")
    await until(lambda: brisk.table(handle.id).records[0].attempt == 2)
    assert (await status_of(handle)).state == "paused"
    await until(lambda: not jobs_of(brisk))
    assert notes(brisk) == ["trial 0"]
    brisk.open_gate()
    await handle.execute_update("resume")
    await handle.result()
    assert notes(brisk) == ["trial 0", "trial 0", "trial 1"]
    assert brisk.table(handle.id).counts.completed == 2


async def test_what_runs_reports_meanwhile(rig: Rig) -> None:
    handle = await started(rig, budget=1)
    await until(lambda: rig.table(handle.id).records[0].step == 1)
    assert (await status_of(handle)).progress.counts.running == 1
    rig.open_gate()
    await handle.result()


async def test_a_time_budget_stops_running_jobs(brisk: Rig) -> None:
    handle = await started(brisk, budget={"seconds": 1.5})
    assert (await handle.result())["reason"] == "time"
    assert not jobs_of(brisk)


async def test_a_job_outlives_its_worker_and_is_counted_once(server: Settings, tmp_path: Path) -> None:
    rig = await standing(server, tmp_path / "rig")
    async with Worker(rig.client, task_queue=rig.queue):
        handle = await started(rig, budget=2)
    [running] = {process.pid for process in jobs_of(rig) if process.name() == "sh"}
    async with working(server, tmp_path / "rig") as other, Worker(other.client, task_queue=rig.queue):
        assert running in {process.pid for process in jobs_of(rig)}
        rig.open_gate()
        await handle.result()
    assert notes(rig) == ["trial 0", "trial 1"]
    assert [record.attempt for record in rig.table(handle.id).records] == [1, 1]


async def test_a_trial_whose_workflow_somebody_terminates_is_attended_again(rig: Rig) -> None:
    handle = await started(rig, budget=1)
    child = rig.client.get_workflow_handle(f"{handle.id}/trial-0/seg-0/try-1")
    await child.terminate("by hand")
    await until(lambda: _runs_again(rig, handle))
    rig.open_gate()
    await handle.result()
    assert notes(rig) == ["trial 0"]
    assert rig.table(handle.id).counts.completed == 1


async def _runs_again(rig: Rig, handle: Handle) -> bool:
    return await trial_status(rig, handle) is WorkflowExecutionStatus.RUNNING


async def test_a_trial_that_somebody_cancels_is_over(brisk: Rig) -> None:
    handle = await started(brisk, budget=2)
    await brisk.workflow(f"{handle.id}/trial-0/seg-0/try-1", "cancel")
    await until(lambda: len(notes(brisk)) == 2)
    brisk.open_gate()
    await handle.result()
    first, second = brisk.table(handle.id).records
    assert first.failure
    assert (first.status, first.failure.kind, first.attempt) == ("failed", "cancelled", 1)
    assert second.status == "completed"


async def test_trials_of_a_sweep_that_is_no_more_end_by_themselves(
    brisk: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attending, "CLOSED_S", 0.5)
    handle = await started(brisk, budget=1)
    await handle.terminate("by hand")
    await until(lambda: not jobs_of(brisk))


async def test_a_terminated_sweep_that_is_resumed_goes_on_with_what_runs(brisk: Rig) -> None:
    handle = await started(brisk, budget=2)
    await handle.terminate("by hand")
    again = await brisk.start(job(GATED, budget=2, resume=True), handle.id)
    await until(lambda: brisk.table(handle.id).epoch == 2)
    brisk.open_gate()
    await again.result()
    assert notes(brisk) == ["trial 0", "trial 1"]
    assert [record.attempt for record in brisk.table(handle.id).records] == [1, 1]


async def test_a_job_that_ignores_its_end_is_killed(brisk: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "GRACE_S", 0.5)
    handle = await started(brisk, STUBBORN, budget=5)
    await handle.execute_update("stop")
    assert (await handle.result())["reason"] == "stopped"
    assert not jobs_of(brisk)


async def test_history_begins_anew_while_jobs_run(tmp_path: Path) -> None:
    async with (
        await WorkflowEnvironment.start_local(
            dev_server_existing_path=TEMPORAL, dev_server_extra_args=SOON
        ) as env,
        working(_settings_of(env), tmp_path / "rig") as rig,
    ):
        handle = await rig.start(job(TRAIN, budget=12, executor={"type": "local", "max_parallel": 3}))
        await handle.result()
        assert rig.table(handle.id).counts.completed == 12
        assert sorted(set(notes(rig))) == sorted(f"trial {n}" for n in range(12))
        assert len(notes(rig)) == 12
        assert rig.table(handle.id).epoch == 1
        runs = [run async for run in rig.client.list_workflows(f"WorkflowId = '{handle.id}'")]
        assert len(runs) > 2


def _settings_of(env: WorkflowEnvironment) -> Settings:
    config = env.client.service_client.config
    return Settings(Path(), {"target_host": config.target_host, "namespace": env.client.namespace})


async def test_activities_of_trials_are_paused_and_reset_by_the_command(brisk: Rig) -> None:
    handle = await started(brisk, budget=1)
    child = f"{handle.id}/trial-0/seg-0/try-1"
    which = ("--workflow-id", child, "--activity-id", "1")
    for command in ("pause", "unpause", "reset"):
        done = await brisk.temporal("activity", command, *which)
        assert done.returncode == 0, done.stderr
        await asyncio.sleep(0.5)
    brisk.open_gate()
    await handle.result()
    assert notes(brisk) == ["trial 0"]
    assert brisk.table(handle.id).counts.completed == 1


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ({"command": []}, "write a list of words"),
        ({"command": "sh"}, "write a list of words"),
        ({"comand": ["sh"]}, "comand is unknown; did you mean command?"),
        ({"command": ["sh"], "env": {"A": 1}}, "env.A"),
    ],
)
async def test_wrong_jobs_are_refused_at_once(rig: Rig, objective: object, message: str) -> None:
    handle = await rig.start(definition("a:b") | {"objective": objective})
    failure = await failure_of(handle)
    assert failure.type == "DefinitionError"
    assert message in failure.message


async def test_a_command_that_does_not_exist_is_named(rig: Rig) -> None:
    handle = await rig.start(job("", max_failures=1) | {"objective": {"command": ["./nonesuch"]}})
    failure = await failure_of(handle)
    assert "./nonesuch" in failure.message


async def test_the_command_of_temporal_starts_one_with_plain_json(rig: Rig) -> None:
    spec = json.dumps(job(TRAIN, budget=1))
    await rig.workflow("by-hand", "start", "--type", "Sweep", "--task-queue", rig.queue, "--input", spec)
    await rig.client.get_workflow_handle("by-hand").result()
    assert rig.table("by-hand").counts.completed == 1


async def test_a_program_may_print_what_it_reports(rig: Rig) -> None:
    printing = (
        """echo '::sweep-report {"step": 1, "accuracy": 0.25}'; echo '::sweep-report {"accuracy": 0.5}'"""
    )
    handle = await rig.start(job(printing, budget=1))
    await handle.result()
    [record] = rig.table(handle.id).records
    assert (record.step, record.metrics) == (1, {"accuracy": 0.5})


WORKERS = {"type": "worker", "options": {"max_parallel": 4}}


async def test_python_objectives_run_on_workers_of_a_queue_of_trials(rig: Rig) -> None:
    handle = await rig.start(definition(budget=4, executor=WORKERS))
    async with Worker(rig.client, task_queue=f"{rig.queue}-trials", max_concurrent_activities=2):
        await handle.result()
    table = rig.table(handle.id)
    assert table.counts.completed == 4
    assert all(record.metrics == {"accuracy": record.params["x"]} for record in table.records)
    session = await rig.start(definition(budget=4))
    await session.result()
    assert [r.params for r in rig.table(session.id).records] == [r.params for r in table.records]


async def test_an_objective_whose_worker_ends_goes_on_elsewhere_from_its_checkpoint(rig: Rig) -> None:
    (rig.folder / "slow.py").write_text(SLOW, "utf-8")
    handle = await rig.start(definition("slow:train", budget=1, executor=WORKERS))
    async with Worker(rig.client, task_queue=f"{rig.queue}-trials", graceful_shutdown_timeout=timedelta(0)):
        await until(lambda: len(notes(rig)) == 2)
    async with Worker(rig.client, task_queue=f"{rig.queue}-trials"):
        rig.open_gate()
        await handle.result()
    assert notes(rig)[:2] == ["0", "1"]
    assert notes(rig)[-1] == "2"
    assert notes(rig).count("0") == 1
    [record] = rig.table(handle.id).records
    assert (record.status, record.step, record.attempt) == ("completed", 3, 1)


SLOW = """
from pathlib import Path
from time import sleep


def train(trial):
    done = int(trial.resume_from.read_text()) if trial.resume_from else 0
    for step in range(done, 3):
        with open("notes", "a") as notes:
            notes.write(f"{step}\\n")
        while step == 1 and not Path("gate").exists():
            sleep(0.05)
        checkpoint = trial.checkpoint_dir / f"{step}"
        checkpoint.write_text(str(step + 1))
        trial.report(step=step + 1, accuracy=0.5, checkpoint=checkpoint)
"""


async def test_objectives_on_workers_are_stopped(brisk: Rig) -> None:
    handle = await brisk.start(definition("gated", budget=5, executor=WORKERS))
    async with Worker(
        brisk.client,
        task_queue=f"{brisk.queue}-trials",
        max_concurrent_activities=1,
        max_heartbeat_throttle_interval=BEAT,
    ):
        await until(lambda: any(record.step for record in brisk.table(handle.id).records))
        await handle.execute_update("stop")
        assert (await handle.result())["reason"] == "stopped"
    assert brisk.table(handle.id).counts.stopped == 4, "those that nobody has taken from the queue, too"


async def test_an_objective_that_cannot_be_imported_fails_its_trials(rig: Rig) -> None:
    handle = await rig.start(definition("nonesuch:train", budget=3, max_failures=1, executor=WORKERS))
    async with Worker(rig.client, task_queue=f"{rig.queue}-trials"):
        failure = await failure_of(handle)
    assert failure.type == "SweepFailed"
    assert "nonesuch" in failure.message
