"""Stories of sweeps whose trials are workflows, and of these trials, to record their histories."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from shutil import copyfile
from uuid import uuid4

from temporalio.client import WorkflowFailureError

from tests.rig import Handle, Rig, until
from tests.workflows import trials
from tests.workflows.jobs import GATED, TRAIN, job
from tests.workflows.trying import tried


async def jobs(rig: Rig, program: str, **changes: object) -> Handle:
    """A sweep whose trials are jobs, two at a time."""
    executor = {"type": "local", "max_parallel": 2}
    return await rig.start(job(program, **{"executor": executor, **changes}))


async def jobs_running(rig: Rig, **changes: object) -> Handle:
    handle = await jobs(rig, GATED, **changes)
    await until(lambda: (rig.folder / "notes").exists())
    return handle


async def jobs_continued(rig: Rig) -> Handle:
    return await jobs(rig, TRAIN, budget=4)


async def jobs_failed(rig: Rig) -> Handle:
    return await jobs(rig, "exit 3", budget=3, max_failures=2, retry={"max_attempts": 2, "initial": 0.1})


async def jobs_stopped(rig: Rig) -> Handle:
    handle = await jobs_running(rig, budget=3)
    await handle.execute_update("pause", "now")
    await handle.execute_update("resume")
    await handle.execute_update("stop")
    return handle


async def jobs_cancelled(rig: Rig) -> Handle:
    handle = await jobs_running(rig, budget=3)
    await handle.cancel()
    return handle


async def jobs_reconciled(rig: Rig) -> Handle:
    handle = await jobs_running(rig, budget=1)
    await trial_of(rig, handle).terminate("by hand")
    await asyncio.sleep(1.5)
    rig.open_gate()
    return handle


async def jobs_left(rig: Rig) -> Handle:
    """A sweep whose name another one had that was deleted while its trial ran."""
    former = await jobs_running(rig, budget=1)
    await former.terminate()
    rig.store.sweep_folder(former.id).rename(rig.folder / "deleted")
    return await rig.start(job(TRAIN, budget=1), former.id)


def trial_of(rig: Rig, handle: Handle) -> Handle:
    return rig.client.get_workflow_handle(f"{handle.id}/trial-0/seg-0/try-1")


async def trial_ended(rig: Rig) -> Handle:
    handle = await jobs(rig, TRAIN, budget=1)
    await handle.result()
    return trial_of(rig, handle)


async def trial_failed(rig: Rig) -> Handle:
    handle = await jobs(rig, "exit 3", budget=1)
    with suppress(WorkflowFailureError):
        await handle.result()
    return trial_of(rig, handle)


async def trial_stopped(rig: Rig) -> Handle:
    handle = await jobs_running(rig, budget=1)
    await handle.execute_update("stop")
    await handle.result()
    return trial_of(rig, handle)


async def trial_cancelled(rig: Rig) -> Handle:
    handle = await jobs_running(rig, budget=1)
    await trial_of(rig, handle).cancel()
    with suppress(WorkflowFailureError):
        await handle.result()
    return trial_of(rig, handle)


async def experiments(rig: Rig, experiment: str, fields: Mapping[str, object], **changes: object) -> Handle:
    """A sweep whose trial is an experiment."""
    copyfile(trials.__file__, rig.folder / "trials.py")
    return await rig.start(tried(experiment, fields, "trials", budget=1, **changes))


async def experiments_scoring(rig: Rig) -> Handle:
    handle = await experiments(rig, "Trained", {"gate": "gate"})
    notes = rig.folder / "notes"
    await until(lambda: notes.exists() and "score" in notes.read_text("utf-8"))
    return handle


async def trial_experiment_ended(rig: Rig) -> Handle:
    handle = await experiments(rig, "Trained", {})
    await handle.result()
    return trial_of(rig, handle)


async def trial_experiment_failed(rig: Rig) -> Handle:
    handle = await experiments(rig, "One", {"does": "raising"})
    with suppress(WorkflowFailureError):
        await handle.result()
    return trial_of(rig, handle)


async def trial_experiment_unmeasured(rig: Rig) -> Handle:
    handle = await experiments(rig, "One", {"does": "nothing"})
    with suppress(WorkflowFailureError):
        await handle.result()
    return trial_of(rig, handle)


async def trial_experiment_stopped(rig: Rig) -> Handle:
    handle = await experiments_scoring(rig)
    await handle.execute_update("stop")
    await handle.result()
    return trial_of(rig, handle)


async def trial_experiment_cancelled(rig: Rig) -> Handle:
    handle = await experiments_scoring(rig)
    await trial_of(rig, handle).cancel()
    with suppress(WorkflowFailureError):
        await handle.result()
    return trial_of(rig, handle)


async def trial_experiment_overdue(rig: Rig) -> Handle:
    handle = await experiments(rig, "Trained", {"gate": "gate"}, timeout=1)
    with suppress(WorkflowFailureError):
        await handle.result()
    return trial_of(rig, handle)


async def trial_experiment_taken_up(rig: Rig) -> Handle:
    name, spec = f"sweep-{uuid4()}", {"experiment": "trials:Trained", "fields": {"x": 1, "gate": "gate"}}
    copyfile(trials.__file__, rig.folder / "trials.py")
    other = f"{name}/trial-0/experiment"
    await rig.client.start_workflow("Experiment", spec, id=other, task_queue=rig.queue)
    await until((rig.folder / "notes").exists)
    handle = await rig.start(tried("Trained", {"gate": "gate"}, "trials", budget=1), name)
    with suppress(WorkflowFailureError):  # it was another one
        await handle.result()
    return trial_of(rig, handle)


async def trial_experiment_unwanted(rig: Rig) -> Handle:
    handle = await experiments_scoring(rig)
    await trial_of(rig, handle).terminate("by hand")
    await handle.execute_update("stop")
    await handle.result()
    return trial_of(rig, handle)


STORIES = (
    *(jobs_continued, jobs_failed, jobs_stopped, jobs_cancelled, jobs_reconciled, jobs_left),
    *(trial_ended, trial_failed, trial_stopped, trial_cancelled),
    *(trial_experiment_ended, trial_experiment_failed, trial_experiment_unmeasured),
    *(trial_experiment_stopped, trial_experiment_cancelled, trial_experiment_overdue),
    *(trial_experiment_taken_up, trial_experiment_unwanted),
)
