"""Records the histories that the replay test replays: real sweeps on a real server.

    python -m tests.histories.record [NAME ...]

Record anew only what a new version writes on purpose, and keep what an old one wrote: sweeps that were
begun by it are to go on after an update.
"""

import argparse
import asyncio
import json
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from shutil import copyfile
from typing import Any
from uuid import uuid4

from temporalio.client import WorkflowFailureError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from metta.sweep.client.settings import Settings
from metta.sweep.contracts.sweeps import SEARCH_ATTRIBUTES
from tests.experiments import nesting as nests
from tests.rig import TEMPORAL, Handle, Rig, definition, standing, until
from tests.workflows import pipelines, trials
from tests.workflows.jobs import GATED, TRAIN, job
from tests.workflows.trying import tried

HERE = Path(__file__).parent
SUGGESTED = 30
"""After so many events the server suggests to continue as new."""


async def finished(rig: Rig) -> Handle:
    return await rig.start(definition(budget=3))


async def budget_changed(rig: Rig) -> Handle:
    handle = await rig.started(budget=1)
    await handle.signal("set_budget", {"trails": 2})
    await handle.signal("set_budget", 2)
    await handle.execute_update("set_budget", 3)
    rig.open_gate()
    return handle


async def stopped(rig: Rig) -> Handle:
    handle = await rig.started(budget=3)
    await handle.execute_update("stop")
    return handle


async def cancelled(rig: Rig) -> Handle:
    handle = await rig.started(budget=3)
    await handle.cancel()
    return handle


async def wrong_input(rig: Rig) -> Handle:
    return await rig.start(definition(budget=-1))


async def mistaken(rig: Rig) -> Handle:
    return await rig.start(definition("nothing"))


async def failed(rig: Rig) -> Handle:
    return await rig.start(definition("wrong", budget=3, max_failures=2))


async def handed_over(rig: Rig) -> Handle:
    handle = await rig.started(budget=2)
    for budget in range(2, 2 + SUGGESTED // 3):
        await handle.signal("set_budget", budget)
    await until(lambda: rig.table(handle.id).control.version > 1)
    rig.open_gate()
    return handle


async def experiment(rig: Rig, pipeline: str, **more: object) -> Handle:
    copyfile(pipelines.__file__, rig.folder / "pipelines.py")  # named as a module, its path is not recorded
    spec = {"experiment": f"pipelines:{pipeline}", "input": {"x": 1, "total": 2, "weight": 2.0}, **more}
    name = f"experiment-{uuid4()}"
    return await rig.client.start_workflow("Experiment", spec, id=name, task_queue=rig.queue)


async def experiment_looped(rig: Rig) -> Handle:
    return await experiment(rig, "loop")


async def experiment_branched(rig: Rig) -> Handle:
    return await experiment(rig, "branches")


async def experiment_continued(rig: Rig) -> Handle:
    return await experiment(rig, "loops")


async def experiment_retried(rig: Rig) -> Handle:
    return await experiment(rig, "retried")


async def experiment_recovered(rig: Rig) -> Handle:
    return await experiment(rig, "recovered")


async def experiment_failed(rig: Rig) -> Handle:
    return await experiment(rig, "failing")


async def experiment_stopped(rig: Rig) -> Handle:
    handle = await experiment(rig, "gates")
    await until(lambda: (rig.folder / "notes").exists())
    await handle.execute_update("pause")
    await handle.execute_update("resume")
    await handle.execute_update("stop")
    rig.open_gate()
    return handle


async def experiment_cancelled(rig: Rig) -> Handle:
    handle = await experiment(rig, "gates")
    await until(lambda: (rig.folder / "notes").exists())
    await handle.cancel()
    return handle


async def experiment_searched(rig: Rig) -> Handle:
    return await experiment(rig, "searched")


async def experiment_restarted(rig: Rig) -> Handle:
    before = await experiment(rig, "searched")
    await before.result()
    spec = {"experiment": "pipelines:searched", "resume": True, "from_stage": "@parallel/one"}
    return await rig.client.start_workflow("Experiment", spec, id=before.id, task_queue=rig.queue)


async def experiment_with_wrong_input(rig: Rig) -> Handle:
    return await experiment(rig, "plain", fields={"typo": 1})


async def nesting(rig: Rig, kind: str, **more: object) -> Handle:
    """An experiment whose stage runs others."""
    copyfile(nests.__file__, rig.folder / "nests.py")
    spec = {"experiment": f"nests:{kind}", "input": {}, **more}
    name = f"experiment-{uuid4()}"
    return await rig.client.start_workflow("Experiment", spec, id=name, task_queue=rig.queue)


async def nesting_slowly(rig: Rig) -> Handle:
    handle = await nesting(rig, "Top")
    await until(lambda: rig.store.names() and rig.table(rig.store.names()[0]).records)
    return handle


async def nested_searched(rig: Rig) -> Handle:
    return await nesting(rig, "Searching")


async def nested_gathered(rig: Rig) -> Handle:
    return await nesting(rig, "Gathering")


async def nested_retried(rig: Rig) -> Handle:
    return await nesting(rig, "Caring", fields={"folder": str(rig.folder)})


async def nested_shared(rig: Rig) -> Handle:
    return await nesting(rig, "Spending", fields={"times": 2, "at_once": True, "direct": 2}, budget=8)


async def nested_spent(rig: Rig) -> Handle:
    return await nesting(rig, "Spending", fields={"trials": None, "times": 2, "at_once": True}, budget=3)


async def nested_budget_changed(rig: Rig) -> Handle:
    handle = await nesting(rig, "Gated", fields={"folder": str(rig.folder)}, budget=2)
    await until(lambda: rig.store.names() and len(rig.table(rig.store.names()[0]).records) == 2)
    await handle.execute_update("set_budget", 4)
    for number in range(6):
        (rig.folder / f"open-{number}").touch()
    return handle


async def nested_stopped(rig: Rig) -> Handle:
    handle = await nesting_slowly(rig)
    await handle.execute_update("pause")
    await handle.execute_update("resume")
    await handle.execute_update("stop")
    return handle


async def nested_cancelled(rig: Rig) -> Handle:
    handle = await nesting_slowly(rig)
    await handle.cancel()
    return handle


async def nested_steered(rig: Rig) -> Handle:
    """What the sweep lives through that is told what is wanted of the experiment above."""
    handle = await nested_stopped(rig)
    await handle.result()
    return rig.client.get_workflow_handle(rig.store.names()[0])


async def nested_dropped(rig: Rig) -> Handle:
    return await nesting(rig, "Impatient")


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


STORIES: list[Callable[[Rig], Awaitable[Handle]]] = [
    finished,
    budget_changed,
    stopped,
    cancelled,
    wrong_input,
    mistaken,
    failed,
    handed_over,
    experiment_looped,
    experiment_branched,
    experiment_continued,
    experiment_retried,
    experiment_recovered,
    experiment_failed,
    experiment_stopped,
    experiment_cancelled,
    experiment_searched,
    experiment_restarted,
    experiment_with_wrong_input,
    nested_searched,
    nested_gathered,
    nested_retried,
    nested_shared,
    nested_spent,
    nested_budget_changed,
    nested_stopped,
    nested_cancelled,
    nested_steered,
    nested_dropped,
    jobs_continued,
    jobs_failed,
    jobs_stopped,
    jobs_cancelled,
    jobs_reconciled,
    jobs_left,
    trial_ended,
    trial_failed,
    trial_stopped,
    trial_cancelled,
    trial_experiment_ended,
    trial_experiment_failed,
    trial_experiment_unmeasured,
    trial_experiment_stopped,
    trial_experiment_cancelled,
    trial_experiment_overdue,
    trial_experiment_taken_up,
    trial_experiment_unwanted,
]


def without_machine(value: Any) -> Any:
    """A history without what tells of the machine that it was recorded on."""
    if isinstance(value, dict):
        return {k: without_machine(v) for k, v in value.items() if k not in ("identity", "stackTrace")}
    return [without_machine(v) for v in value] if isinstance(value, list) else value


async def record(story: Callable[[Rig], Awaitable[Handle]], server: Settings, folder: Path) -> None:
    """Play a story, and write down the histories of all of its runs."""
    rig = await standing(server, folder / story.__name__)
    async with Worker(rig.client, task_queue=rig.queue):
        handle = await story(rig)
        try:
            await handle.result()
        except WorkflowFailureError as error:
            print(f"{story.__name__}: {error.cause!r}")
        runs = [run async for run in rig.client.list_workflows(f"WorkflowId = '{handle.id}'")]
        for number, run in enumerate(sorted(runs, key=lambda run: run.start_time)):
            history = await rig.client.get_workflow_handle(run.id, run_id=run.run_id).fetch_history()
            file = HERE / f"{story.__name__}-{number}.json"
            file.write_text(json.dumps(without_machine(history.to_json_dict()), indent=1) + "\n", "utf-8")
            print(f"{file.name}: {len(history.events)} events")


async def main(names: list[str]) -> None:
    attributes = [f"--search-attribute={name}={kind}" for name, kind in SEARCH_ATTRIBUTES.items()]
    suggestion = ["--dynamic-config-value", f"limit.historyCount.suggestContinueAsNew={SUGGESTED}"]
    environment = await WorkflowEnvironment.start_local(
        dev_server_existing_path=TEMPORAL, dev_server_extra_args=[*attributes, *suggestion]
    )
    async with environment:
        address = environment.client.service_client.config.target_host
        server = Settings(HERE, {"target_host": address, "namespace": environment.client.namespace})
        with tempfile.TemporaryDirectory() as folder:
            for story in (story for story in STORIES if not names or story.__name__ in names):
                await record(story, server, Path(folder))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.histories.record", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="stories; without any, all of them")
    asyncio.run(main(parser.parse_args().names))
