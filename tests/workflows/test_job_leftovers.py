"""Sweeps whose name a deleted sweep had whose trials still run: on a real server, with real processes."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import WorkflowExecutionStatus
from temporalio.worker import Worker

from metta.sweep.activities import leftovers
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.advances import TrialNews
from metta.sweep.contracts.attempts import AttemptKey
from metta.sweep.contracts.events import Completed
from tests.rig import Handle, Rig, definition, standing, until
from tests.workflows.faults import AT_ONCE, brisk, child_of, cleared, ended, is_deserted, serving
from tests.workflows.jobs import GATED, TRAIN, X, job
from tests.workflows.test_job_lane import notes, started

RAN = WorkflowExecutionStatus.COMPLETED
ONE = AttemptKey(trial=0, segment=0, attempt=1)._asdict()


@pytest.fixture
async def rig(server: Settings, tmp_path: Path) -> AsyncIterator[Rig]:
    async with brisk(server, tmp_path / "rig") as made:
        yield made


async def deleted(rig: Rig, handle: Handle) -> Handle:
    """Terminate a sweep and delete its folder, as people do; returns the trial that is left."""
    left = child_of(rig, handle)
    left = rig.client.get_workflow_handle(left.id, run_id=(await left.describe()).run_id)
    await handle.terminate()
    aside = rig.folder / "deleted"
    rig.store.sweep_folder(handle.id).rename(aside)  # trials write into it meanwhile
    shutil.rmtree(aside, ignore_errors=True)
    return left


async def test_a_trial_that_a_deleted_sweep_has_left_is_not_taken_for_ones_own(rig: Rig) -> None:
    busy = f"{X}; while [ ! -e gate ]; do {REPORT_OFTEN} sleep 0.05; done"
    first = await rig.start(job(f"echo first >> notes; {busy}", budget=1))
    await until(lambda: rig.table(first.id).records and rig.table(first.id).records[0].step)
    left = await deleted(rig, first)
    second = await rig.start(job(TRAIN, budget=2, seed=2), first.id)
    assert await ended(second) == "budget"
    assert [line for line in notes(rig) if line.startswith("trial")] == ["trial 0", "trial 1"]
    assert (await left.describe()).status == RAN
    records = rig.table(first.id).records
    assert [record.metrics for record in records] == [{"accuracy": record.params["x"]} for record in records]
    assert [record.step for record in records] == [1, 1]
    await is_deserted(rig)


REPORT_OFTEN = r"""printf '{"step": 7, "metrics": {"accuracy": 7}}\n' >> "$METTA_SWEEP_REPORTS";"""


async def test_an_objective_that_a_deleted_sweep_has_left_is_not_taken_for_ones_own(rig: Rig) -> None:
    executor = {"type": "worker", "options": {"max_parallel": 1}}
    first = await rig.start(definition("gated", budget=1, executor=executor))
    async with serving(rig):
        await until(lambda: rig.table(first.id).records and rig.table(first.id).records[0].step)
        left = await deleted(rig, first)
        second = await rig.start(definition("train", budget=1, seed=2, executor=executor), first.id)
        assert await ended(second) == "budget"
        assert (await left.describe()).status == RAN
    [record] = rig.table(first.id).records
    assert (record.status, record.metrics, record.step) == (
        "completed",
        {"accuracy": record.params["x"]},
        None,
    )


async def test_a_left_trial_that_does_not_stop_is_terminated(
    rig: Rig, server: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "PATIENCE_S", 0.5)
    with cleared(tmp_path / "other"):
        other = await standing(server, tmp_path / "other")
        async with Worker(other.client, task_queue=other.queue, graceful_shutdown_timeout=AT_ONCE):
            first = await started(other, budget=1)
            left = await deleted(other, first)
        # nobody serves its queue any more
        second = await rig.start(job(TRAIN, budget=1), first.id)
        assert await ended(second) == "budget"
        assert (await left.describe()).status == WorkflowExecutionStatus.TERMINATED


async def test_what_a_left_trial_has_written_to_a_folder_is_not_read(rig: Rig) -> None:
    """It was over when the new sweep began, and had made its folder anew."""
    first = await started(rig, f"{TRAIN}; sleep 1000", budget=1)
    left = await deleted(rig, first)
    await until(lambda: len(notes(rig)) == 2)  # it was submitted again
    await left.signal("stop")
    await left.result()
    second = await rig.start(job(TRAIN, budget=1, seed=2), first.id)
    assert await ended(second) == "budget"
    [record] = rig.table(first.id).records
    assert (record.status, record.attempt, record.metrics) == (
        "completed",
        1,
        {"accuracy": record.params["x"]},
    )
    await is_deserted(rig)


async def test_news_of_a_trial_of_another_ledger_change_nothing(rig: Rig) -> None:
    handle = await started(rig, budget=1)
    end = Completed(at=0.0, metrics={"accuracy": 99.0}, **ONE)
    await handle.signal("trial_news", TrialNews(**ONE, end=end, ledger_id="another"))
    await asyncio.sleep(1)
    assert rig.table(handle.id).counts.running == 1
    rig.open_gate()
    assert await ended(handle) == "budget"
    [record] = rig.table(handle.id).records
    assert record.metrics == {"accuracy": record.params["x"]}


async def test_a_trial_of_the_same_ledger_goes_on_when_its_sweep_is_resumed(rig: Rig) -> None:
    handle = await started(rig, budget=1)
    left = child_of(rig, handle)
    run_id = (await left.describe()).run_id
    await handle.terminate()
    again = await rig.start(job(GATED, budget=1, resume=True), handle.id)
    await until(lambda: rig.table(handle.id).epoch == 2)
    await asyncio.sleep(1)
    rig.open_gate()
    assert await ended(again) == "budget"
    assert (await left.describe()).run_id == run_id
    assert notes(rig) == ["trial 0"]
