"""Shared workers: what plain clients may have run on their queue, and what is refused without an import."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from temporalio.client import Client
from temporalio.worker import Worker

from metta.sweep.client.connection import connect
from metta.sweep.client.handovers import handed_over
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.worker import MettaSweepPlugin
from metta.sweep.worker.main import QUEUE
from tests.rig import Rig, code_in, definition, failure_of, standing
from tests.worker.labs import make_lab, shared

WAY_OUT = (
    " is not registered with this worker, which knows metta.sweep, my_lab: register it with"
    " `sweep worker my_lab my_labels`, or with modules=['my_lab', 'my_labels'] of MettaSweepPlugin"
)

BATCH = {"$dataclass": ["my_labels:Batch", {"rows": 1}]}


def tried(**changes: object) -> dict[str, object]:
    return {**definition("my_lab.training:train", budget=2), **changes}


def run_of(experiment: str, **more: object) -> dict[str, object]:
    return {"experiment": experiment, **more}


SWEEPS = {
    "objective": (tried(objective="my_labels:train"), "my_labels:train"),
    "optimizer": (tried(optimizer="my_labels:Mine"), "my_labels:Mine"),
    "scheduler": (tried(scheduler={"type": "my_labels:Mine"}), "my_labels:Mine"),
    "executor": (tried(executor={"type": "my_labels:Mine"}), "my_labels:Mine"),
    "trials": (tried(objective={"experiment": "my_labels:Elsewhere"}), "my_labels:Elsewhere"),
}

EXPERIMENTS = {
    "experiment": (run_of("my_labels:Elsewhere"), "my_labels:Elsewhere"),
    "value": (run_of("my_lab.training:Search", given={"packed": BATCH}), "my_labels:Batch"),
}


async def client_here() -> Client:
    return await connect(Settings.load())


async def failure(client: Client, kind: str, given: object) -> Any:
    name = f"{kind.lower()}-{uuid4()}"
    return await failure_of(await client.start_workflow(kind, given, id=name, task_queue=QUEUE))


async def result(client: Client, given: object) -> Any:
    name = f"sweep-{uuid4()}"
    return await (await client.start_workflow("Sweep", given, id=name, task_queue=QUEUE)).result()


def by_value(value: Callable[..., object]) -> str:
    return handed_over(Settings.load().store, "value::train", value)


@pytest.mark.timeout(180)
async def test_what_is_not_registered_is_refused_and_never_imported(project: Path) -> None:
    mark = make_lab(project)
    (project / "lone.py").write_text("def train(params):\n    return {'accuracy': 1.0}\n", "utf-8")
    with shared("my_lab"):
        client = await client_here()
        for given, named in SWEEPS.values():
            error = await failure(client, "Sweep", given)
            assert (error.type, error.non_retryable) == ("Refused", True)
            assert error.message.partition(": ")[2] == named + WAY_OUT
        for given, named in EXPERIMENTS.values():
            error = await failure(client, "Experiment", given)
            assert (error.type, error.non_retryable) == ("DefinitionError", True)
            assert error.message.endswith(f": {named}{WAY_OUT}")
        astray = await failure(client, "Experiment", run_of("my_lab.training:Astray"))
        assert f"my_labels:train{WAY_OUT}" in astray.message
        several = await failure(
            client, "Sweep", tried(objective="my_labels:train", optimizer="my_labels:Mine")
        )
        assert several.message.count(WAY_OUT) == 2
        script = await failure(client, "Sweep", tried(objective=f"{project}/lone.py:train"))
        assert "and this worker takes no scripts: put it into a module" in script.message
        command = await failure(client, "Sweep", tried(objective={"command": ["touch", str(mark)]}))
        assert f"'touch {mark}' is a command, and this worker takes no commands: " in command.message
        assert command.message.endswith(
            "allow that with `sweep worker --allow commands`, or with commands=True of MettaSweepPlugin"
        )
        value = await failure(client, "Sweep", tried(objective=by_value(lambda params: {"accuracy": 1.0})))
        assert "train was sent by value, and this worker takes no code by value: put it into" in value.message
        assert "`sweep worker --allow by-value`" in value.message
        sampler = {"type": "optuna", "options": {"sampler": {"pickle": ""}}}
        hidden = await failure(client, "Sweep", tried(optimizer=sampler))
        assert "the sampler was sent by value" in hidden.message
        assert (await result(client, tried()))["reason"] == "budget"
    assert not mark.exists()


async def test_what_is_allowed_runs_and_nothing_else(project: Path) -> None:
    mark = make_lab(project)
    ran = project / "ran"
    with shared("my_lab", "--allow", "commands", "--allow", "by-value"):
        client = await client_here()
        job = ["sh", "-c", f"touch {ran}; echo '::sweep-report {{\"accuracy\": 0.5}}'"]
        assert (await result(client, tried(objective={"command": job})))["reason"] == "budget"
        assert ran.exists()
        value = by_value(lambda params: {"accuracy": 1.0})
        done = await result(client, tried(objective=value))
        assert done["progress"]["best"][0]["value"] == 1.0
        refused = await failure(client, "Sweep", tried(objective="my_labels:train"))
        assert refused.type == "Refused"
    assert not mark.exists()


async def test_the_plugin_registers_nothing_of_its_own_accord(project: Path, server: Settings) -> None:
    mark = make_lab(project)
    made = await standing(server, project / "rig")
    plugin = MettaSweepPlugin(made.store.root, code_in(project))
    rig = Rig(await connect(server, plugins=[plugin]), made.queue, made.folder, made.store)
    async with Worker(rig.client, task_queue=rig.queue):
        for given in (tried(objective="my_labels:train"), tried(objective={"command": ["touch", str(mark)]})):
            assert (await failure_of(await rig.start(given))).type == "Refused"
    assert not mark.exists()


async def test_a_worker_with_modules_that_cannot_be_imported_does_not_begin(server: Settings) -> None:
    client = await connect(server, plugins=[MettaSweepPlugin(modules=["nothing", "json.nothing"])])
    with pytest.raises(DefinitionError) as caught:
        Worker(client, task_queue="any")
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "nothing cannot be imported",
        "json.nothing cannot be imported",
    ]
    with pytest.raises(DefinitionError, match="write a module such as my_lab"):
        MettaSweepPlugin(modules=["my-lab"])
