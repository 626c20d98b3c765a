"""Trials that are experiments, on a real server, with real stage processes."""

import shutil
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError
from temporalio.exceptions import CancelledError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from metta.sweep.activities import attending
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.outcomes import Began, StageEnded
from metta.sweep.contracts.seeds import derived_seed
from tests.rig import TEMPORAL, Handle, Rig, failure_of, standing, status_of, until, working
from tests.workflows.faults import child_of, ended, settings_of
from tests.workflows.test_job_lane import notes
from tests.workflows.test_sweep_runs import SOON
from tests.workflows.trying import code_of, first, tried
from tests.workflows.trying import trying as trying

X = 0.5
GATED = {"gate": "gate"}


def experiment_of(rig: Rig, handle: Handle, trial: int = 0) -> Handle:
    return rig.client.get_workflow_handle(f"{handle.id}/trial-{trial}/experiment")


async def status(handle: Handle) -> WorkflowExecutionStatus | None:
    return (await handle.describe()).status


def noted(rig: Rig, word: str) -> int:
    return sum(line.startswith(word) for line in notes(rig))


def stages(rig: Rig, handle: Handle, trial: int = 0) -> list[str]:
    """Stages that are recorded of a trial's experiment, one for each time."""
    log = rig.store.outcome_log(experiment_of(rig, handle, trial).id)
    return [str(entry.at) for entry in log.entries() if isinstance(entry, StageEnded)]


async def scoring(rig: Rig, trials: int = 1, **changes: object) -> Handle:
    """Start a sweep, and wait until so many of its trials are in their second stage, where they wait."""
    changes.setdefault("executor", {"type": "local", "max_parallel": trials})
    handle = await rig.start(tried("Trained", GATED, **changes))
    await until(lambda: noted(rig, "score") == trials)
    return handle


async def test_each_trial_is_an_experiment_below_its_own_workflow(trying: Rig) -> None:
    handle = await trying.start(tried("Trained", {"scale": 2.0}, budget=3))
    assert await ended(handle) == "budget"
    records = trying.table(handle.id).records
    assert [r.metrics for r in records] == [{"accuracy": r.params["x"] * 2} for r in records]
    assert all(0 < r.seconds < 30 for r in records)
    assert len(notes(trying)) == 6
    description = await experiment_of(trying, handle, 2).describe()
    assert description.status is WorkflowExecutionStatus.COMPLETED
    assert description.parent_id == f"{handle.id}/trial-2/seg-0/try-1"
    assert await description.static_summary() == f"x={records[2].params['x']}"
    [began] = [e for e in trying.store.outcome_log(description.id).entries() if isinstance(e, Began)]
    assert began.fields == {"scale": 2.0, "x": records[2].params["x"]}


async def test_stages_are_seeded_by_their_trial_and_not_by_the_names_of_sweeps(trying: Rig) -> None:
    handles = [await trying.start(tried(budget=1)) for _ in range(2)]
    for handle in handles:
        await ended(handle)
    one, other = (line for line in notes(trying) if line.startswith("score"))
    assert one == other
    assert one.endswith(f" {derived_seed(first(trying, handles[0]).seed, 0, 'score')}")


@pytest.mark.parametrize("does", ["form", "large", "number"])
async def test_models_large_results_and_bare_numbers_have_metrics(trying: Rig, does: str) -> None:
    handle = await trying.start(tried("One", {"does": does}, budget=1))
    await ended(handle)
    record = first(trying, handle)
    assert record.metrics == {"accuracy": record.params["x"]}


async def test_a_sweep_whose_executor_runs_no_experiments_is_refused_with_all_mistakes(trying: Rig) -> None:
    handle = await trying.start(tried(executor={"type": "worker"}, resources={"cpu": 2}))
    failure = await failure_of(handle)
    assert failure.type == "DefinitionError"
    assert "executor: the objective is an experiment" in failure.message
    assert "resources: the objective is an experiment" in failure.message


async def test_an_attempt_after_a_failure_goes_on_with_what_is_recorded(trying: Rig) -> None:
    retry = {"max_attempts": 2, "initial": 0.1}
    handle = await trying.start(tried("Lucky", budget=1, retry=retry))
    assert await ended(handle) == "budget"
    record = first(trying, handle)
    assert (record.status, record.attempt, record.failed) == ("completed", 2, 1)
    assert notes(trying) == ["prepare", "luck", "luck"]


async def test_a_stopped_sweep_ends_its_experiments(trying: Rig) -> None:
    handle = await scoring(trying, 2, budget=5)
    await handle.execute_update("stop")
    assert await ended(handle) == "stopped"
    assert trying.table(handle.id).counts.stopped == 2
    assert await status(experiment_of(trying, handle, 1)) is WorkflowExecutionStatus.CANCELED
    assert await status(child_of(trying, handle)) is WorkflowExecutionStatus.COMPLETED


async def test_a_cancelled_sweep_ends_its_experiments_and_says_so(trying: Rig) -> None:
    handle = await scoring(trying, 2, budget=5)
    await trying.workflow(handle.id, "cancel")
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, CancelledError)
    assert trying.table(handle.id).counts.stopped == 2
    for trial in range(2):
        assert await status(experiment_of(trying, handle, trial)) is WorkflowExecutionStatus.CANCELED
    assert (await status_of(handle)).state == "cancelled"


async def test_a_sweep_that_is_paused_now_goes_on_with_recorded_stages(trying: Rig) -> None:
    handle = await scoring(trying, budget=1)
    await handle.execute_update("pause", "now")
    await until(lambda: first(trying, handle).attempt == 2)
    assert await status(experiment_of(trying, handle)) is WorkflowExecutionStatus.CANCELED
    trying.open_gate()
    await handle.execute_update("resume")
    assert await ended(handle) == "budget"
    assert (noted(trying, "train"), noted(trying, "score")) == (1, 2)
    assert stages(trying, handle) == ["train", "score"]


async def test_a_trial_that_takes_too_long_is_ended(trying: Rig) -> None:
    handle = await trying.start(tried("Trained", GATED, budget=1, timeout=2.5, max_failures=1))
    assert "it took longer than 2.5 s" in (await failure_of(handle)).message
    failure = first(trying, handle).failure
    assert failure
    assert (failure.kind, failure.message) == ("timeout", "it took longer than 2.5 s")
    assert await status(experiment_of(trying, handle)) is WorkflowExecutionStatus.CANCELED


async def test_an_experiment_that_somebody_cancels_is_a_cancelled_trial(trying: Rig) -> None:
    handle = await scoring(trying, budget=2)
    await trying.workflow(experiment_of(trying, handle).id, "cancel")
    await until(lambda: noted(trying, "score") == 2)
    trying.open_gate()
    assert await ended(handle) == "budget"
    failure = first(trying, handle).failure
    assert failure
    assert (failure.kind, failure.message) == ("cancelled", "somebody has cancelled its experiment")
    assert trying.table(handle.id).records[1].status == "completed"


async def test_an_experiment_that_somebody_stops_is_a_cancelled_trial(trying: Rig) -> None:
    handle = await trying.start(tried("Trained", {"door": "gate"}, budget=1, max_failures=1))
    await until(lambda: noted(trying, "train"))
    await experiment_of(trying, handle).execute_update("stop")
    trying.open_gate()
    await failure_of(handle)
    failure = first(trying, handle).failure
    assert failure
    assert (failure.kind, failure.message) == ("cancelled", "somebody has stopped its experiment")


async def test_an_experiment_that_somebody_terminates_goes_on_with_what_is_recorded(trying: Rig) -> None:
    handle = await scoring(trying, budget=1)
    await experiment_of(trying, handle).terminate("by hand")
    await until(lambda: first(trying, handle).attempt == 2)
    trying.open_gate()
    assert await ended(handle) == "budget"
    record = first(trying, handle)
    assert (record.status, record.failed, record.free) == ("completed", 0, 1)
    assert noted(trying, "train") == 1


async def test_a_trial_that_somebody_cancels_is_over_with_its_experiment(trying: Rig) -> None:
    handle = await scoring(trying, budget=1, max_failures=1)
    await trying.workflow(child_of(trying, handle).id, "cancel")
    await failure_of(handle)
    failure = first(trying, handle).failure
    assert failure
    assert failure.kind == "cancelled"
    assert await status(experiment_of(trying, handle)) is WorkflowExecutionStatus.CANCELED
    assert await status(child_of(trying, handle)) is WorkflowExecutionStatus.CANCELED


async def test_a_trial_that_somebody_terminates_is_taken_up_again(trying: Rig) -> None:
    handle = await scoring(trying, budget=1)
    await child_of(trying, handle).terminate("by hand")
    await until(lambda: _is_again(trying, handle))
    trying.open_gate()
    assert await ended(handle) == "budget"
    record = first(trying, handle)
    assert (record.status, record.attempt) == ("completed", 1)
    assert noted(trying, "train") == 1
    assert stages(trying, handle) == ["train", "score"]


async def _is_again(rig: Rig, handle: Handle) -> bool:
    return await status(child_of(rig, handle)) is WorkflowExecutionStatus.RUNNING


async def test_a_trial_that_is_terminated_while_it_is_stopped_ends_stopped(trying: Rig) -> None:
    handle = await scoring(trying, budget=1)
    await trying.workflow(child_of(trying, handle).id, "terminate")
    await handle.execute_update("stop")
    assert await ended(handle) == "stopped"
    assert trying.table(handle.id).counts.stopped == 1
    assert await status(experiment_of(trying, handle)) is WorkflowExecutionStatus.CANCELED


async def test_what_runs_under_the_name_of_a_trial_is_ended_first(trying: Rig) -> None:
    name, objective = f"sweep-{uuid4()}", {"experiment": "tests.workflows.trials:Trained"}
    other = await trying.client.start_workflow(
        "Experiment",
        objective | {"fields": {"x": X, "door": "gate"}},
        id=f"{name}/trial-0/experiment",
        task_queue=trying.queue,
    )
    await until(lambda: noted(trying, "train"))
    handle = await trying.start(tried("Trained", {"door": "gate"}, budget=1, initial_points=[{"x": X}]), name)
    await until(
        lambda: _is_over(trying.client.get_workflow_handle(other.id, run_id=other.first_execution_run_id))
    )
    trying.open_gate()
    assert await ended(handle) == "budget"
    assert noted(trying, "train") == 2
    assert stages(trying, handle) == ["train", "score"]


async def test_resetting_the_workflow_of_a_trial_does_no_harm(trying: Rig) -> None:
    handle = await scoring(trying, budget=1)
    reset = ("reset", "--type", "FirstWorkflowTask", "--reason", "by hand")
    await trying.workflow(child_of(trying, handle).id, *reset)
    trying.open_gate()
    assert await ended(handle) == "budget"
    record = first(trying, handle)
    assert (record.status, record.attempt) == ("completed", 1)
    assert noted(trying, "train") == 1


async def test_trials_of_a_sweep_that_is_no_more_end_by_themselves(
    trying: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attending, "CLOSED_S", 0.5)
    handle = await scoring(trying, budget=1)
    await handle.terminate("by hand")
    await until(lambda: _is_over(child_of(trying, handle)))
    assert await status(experiment_of(trying, handle)) is WorkflowExecutionStatus.CANCELED


async def _is_over(handle: Handle) -> bool:
    return await status(handle) is not WorkflowExecutionStatus.RUNNING


async def test_a_closed_sweep_that_is_resumed_goes_on_with_its_experiments(trying: Rig) -> None:
    handle = await scoring(trying, budget=1)
    await handle.terminate("by hand")
    again = await trying.start(tried("Trained", GATED, budget=1, resume=True), handle.id)
    trying.open_gate()
    assert await ended(again) == "budget"
    assert noted(trying, "train") == 1
    assert first(trying, handle).status == "completed"


async def test_schedulers_that_pause_trials_see_nothing_but_the_end(trying: Rig) -> None:
    asha = {"type": "asha", "options": {"max_epochs": 9}}
    handle = await trying.start(tried(scheduler=asha, budget=4))
    assert await ended(handle) == "budget"
    counts = trying.table(handle.id).counts
    assert (counts.completed, counts.started) == (4, 4)


async def test_a_trial_may_hold_a_sweep_of_its_own(trying: Rig) -> None:
    handle = await trying.start(tried("Nested", budget=2))
    assert await ended(handle) == "budget"
    assert noted(trying, "refine") == 4
    for record in trying.table(handle.id).records:
        inner = trying.table(f"{experiment_of(trying, handle, record.number).id}/refine")
        assert inner.spec
        assert inner.spec.seed == derived_seed(record.seed, 0, "refine")
        assert inner.best
        assert record.metrics == {"accuracy": record.params["x"] - inner.best.metrics["loss"]}


async def test_history_begins_anew_while_experiments_run(tmp_path: Path) -> None:
    folder = tmp_path / "rig"
    async with (
        await WorkflowEnvironment.start_local(
            dev_server_existing_path=TEMPORAL, dev_server_extra_args=SOON
        ) as environment,
        working(settings_of(environment), folder, code_of(folder)) as rig,
    ):
        handle = await rig.start(tried(budget=6, executor={"type": "local", "max_parallel": 2}))
        assert await ended(handle) == "budget"
        table = rig.table(handle.id)
        assert (table.counts.completed, table.epoch) == (6, 1)
        assert len(notes(rig)) == 12
        runs = [run async for run in rig.client.list_workflows(f"WorkflowId = '{handle.id}'")]
        assert len(runs) > 1


async def test_a_dead_stage_process_is_no_failure_of_the_trial(trying: Rig) -> None:
    handle = await trying.start(tried("Mortal", budget=1))
    assert await ended(handle) == "budget"
    record = first(trying, handle)
    assert (record.status, record.failed, record.attempt) == ("completed", 0, 1)


async def test_an_experiment_goes_on_with_another_worker_and_is_counted_once(
    server: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "rig"
    rig = await standing(server, folder, code_of(folder))
    async with Worker(rig.client, task_queue=rig.queue):
        handle = await scoring(rig, budget=2)
    async with (
        working(server, folder, code_of(folder)) as other,
        Worker(other.client, task_queue=rig.queue),
    ):
        rig.open_gate()
        assert await ended(handle) == "budget"
    assert [record.attempt for record in rig.table(handle.id).records] == [1, 1]
    assert stages(rig, handle) == ["train", "score"]
    assert noted(rig, "train") == 2


async def test_all_of_it_runs_when_every_workflow_task_replays_its_history(
    server: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "rig"
    async with working(server, folder, code_of(folder), max_cached_workflows=0) as rig:
        handle = await scoring(rig, budget=1)
        await handle.execute_update("stop")
        assert await ended(handle) == "stopped"
        handle = await rig.start(tried(budget=2))
        assert await ended(handle) == "budget"
        assert rig.table(handle.id).counts.completed == 2


@pytest.mark.parametrize("seed", [1, 2])
async def test_what_a_deleted_sweep_has_recorded_is_not_gone_on_with(trying: Rig, seed: int) -> None:
    first_one = await trying.start(tried("Trained", {"scale": 2.0}, budget=2))
    await first_one.result()
    before = len(notes(trying))
    shutil.rmtree(trying.store.sweep_folder(first_one.id))
    second = await trying.start(tried("Trained", {"scale": 3.0}, budget=2, seed=seed), first_one.id)
    assert await ended(second) == "budget"
    records = trying.table(second.id).records
    assert [r.metrics for r in records] == [{"accuracy": r.params["x"] * 3} for r in records]
    assert len(notes(trying)) == 2 * before
