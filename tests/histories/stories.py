"""Stories of sweeps and experiments, to record their histories."""

from pathlib import Path
from shutil import copyfile
from uuid import uuid4

from examples import curriculum, hybrid_search
from tests.experiments import nesting as nests
from tests.rig import Handle, Rig, definition, until
from tests.workflows import pipelines

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


async def nested_restarted(rig: Rig) -> Handle:
    """One that begins again at a stage that has run a sweep."""
    before = await nesting(rig, "Searching")
    await before.result()
    spec = {"experiment": "nests:Searching", "resume": True, "from_stage": "search"}
    return await rig.client.start_workflow("Experiment", spec, id=before.id, task_queue=rig.queue)


async def example(rig: Rig, file: str, kind: str, fields: dict[str, object]) -> Handle:
    """An experiment of an example."""
    copyfile(file, rig.folder / Path(file).name)
    spec = {"experiment": f"{Path(file).stem}:{kind}", "fields": fields}
    return await rig.client.start_workflow("Experiment", spec, id=f"example-{uuid4()}", task_queue=rig.queue)


async def experiment_curriculum(rig: Rig) -> Handle:
    return await example(rig, curriculum.__file__, "Reading", {"trials_per_task": 3})


async def experiment_phases(rig: Rig) -> Handle:
    """One of ready-made stages."""
    return await example(rig, hybrid_search.__file__, "Hybrid", {})


STORIES = (
    *(finished, budget_changed, stopped, cancelled, wrong_input, mistaken, failed, handed_over),
    *(experiment_looped, experiment_branched, experiment_continued, experiment_retried),
    *(experiment_recovered, experiment_failed, experiment_stopped, experiment_cancelled),
    *(experiment_searched, experiment_restarted, experiment_with_wrong_input),
    *(experiment_curriculum, experiment_phases),
    *(nested_searched, nested_gathered, nested_retried, nested_restarted, nested_shared, nested_spent),
    *(nested_budget_changed, nested_stopped, nested_cancelled, nested_steered, nested_dropped),
)
