"""What ``sweep replay`` says: whether this version would decide as it was decided."""

import asyncio
from pathlib import Path
from shutil import rmtree

import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from metta.sweep.client.settings import Settings
from tests.cli.conftest import Caller

NESTED = """
from metta.sweep import Uniform
from metta.sweep.experiments import SweepExperiment
from metta.sweep.experiments.base import Pipeline

def train(params):
    return {"accuracy": params["x"]}

search = SweepExperiment(train, {"x": Uniform(0, 1)}, metric="accuracy", budget=2)
pipeline = Pipeline().stage("search", search)
"""


@workflow.defn(name="Experiment")
class Other:
    """A workflow of the same name that does something else."""

    @workflow.run
    async def run(self, input: dict[str, str]) -> None:
        await asyncio.sleep(0.01)


@pytest.fixture
def shared(server: Settings, project: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A project whose server is there already."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", str(server.connect["target_host"]))
    monkeypatch.setenv("TEMPORAL_NAMESPACE", str(server.connect["namespace"]))
    return server


def test_all_that_ran_below_a_name_is_replayed(project: Path, call: Caller) -> None:
    (project / "mine.py").write_text(NESTED, "utf-8")
    call.printed("run", "mine.py:pipeline", "--name", "nested")
    counted, verdict, following = call.printed("replay", "nested").splitlines()
    assert counted.startswith("nested: 2 histories with ")
    assert verdict == "deterministic: this version decides all of them as they were decided"
    assert following == "next: sweep show nested"
    told = call.json("replay", "nested")
    assert {(h["kind"], h["problem"]) for h in told["histories"]} == {("Sweep", ""), ("Experiment", "")}
    assert {h["workflow"] for h in told["histories"]} == {"nested", "nested/search"}


def test_what_another_version_decided_otherwise_is_named(shared: Settings, call: Caller) -> None:
    async def decided() -> None:
        client = await Client.connect(
            str(shared.connect["target_host"]), namespace=str(shared.connect["namespace"])
        )
        async with Worker(
            client,
            task_queue="others",
            workflows=[Other],
            workflow_runner=UnsandboxedWorkflowRunner(),
        ):
            await client.execute_workflow("Experiment", {}, id="other", task_queue="others")

    asyncio.run(decided())
    done = call("replay", "other")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0].startswith("other: 1 history with ")
    assert "Nondeterminism" in done.stdout
    assert lines[-2] == "not deterministic: 1 of them would go another way with this version"
    assert lines[-1].startswith("next: temporal workflow show --workflow-id other --run-id ")
    [[replayed], said] = call.failed(1, "replay", "other")
    assert said == ""
    [history] = replayed["histories"]
    assert "Nondeterminism" in history["problem"]


@pytest.mark.usefixtures("shared")
def test_a_name_that_nobody_knows_is_told(call: Caller) -> None:
    done = call("replay", "nobody")
    assert done.returncode == 1
    assert "nobody" in done.stderr


FORGOTTEN = """
from metta.sweep.experiments.base import Pipeline

def double(n: int) -> int:
    return 2 * n

pipeline = (
    Pipeline()
    .loop_while(lambda n: n < 30)
    .stage("double", double)
    .end_loop()
    .conditional(lambda n: n > 30, Pipeline().stage("large", double), Pipeline().stage("small", double))
)
"""


def forgotten(project: Path, call: Caller, script: str) -> None:
    """Let an experiment run, and Temporal lose all it knows of it; its script is another one then."""
    (project / "mine.py").write_text(FORGOTTEN, "utf-8")
    call.printed("run", "mine.py:pipeline", "--name", "doubled", "--input", "2")
    call.printed("dev", "--stop")
    rmtree(project / ".metta-sweep" / "server")
    (project / "mine.py").write_text(script, "utf-8")


def test_what_temporal_has_forgotten_is_retraced_from_the_store(project: Path, call: Caller) -> None:
    forgotten(project, call, FORGOTTEN)
    assert call.printed("replay", "doubled").splitlines() == [
        "doubled: Temporal has forgotten its histories; the store has 11 steps of it",
        "deterministic: the pipeline as it is now takes the path that is recorded",
        "next: sweep show doubled",
    ]
    assert call.json("replay", "doubled")["retraced"] == [{"name": "doubled", "steps": 11, "problem": ""}]


@pytest.mark.parametrize(
    ("before", "now", "problem"),
    [
        ("n < 30", "n < 10", "doubled: the predicate at @loop[3] says False, and said True"),
        ("n > 30", "n > 99", "doubled: the predicate at @if says False, and said True"),
        ("n < 30", "n.x < 30", "doubled: the predicate at @loop[0] fails: its predicate: AttributeError"),
        ('"large"', '"huge"', "doubled: its pipeline was changed:"),
    ],
)
def test_where_it_would_go_another_way_is_told(
    project: Path, call: Caller, before: str, now: str, problem: str
) -> None:
    forgotten(project, call, FORGOTTEN.replace(before, now))
    told = call("replay", "doubled")
    assert told.returncode == 1
    assert problem in told.stdout
    assert "not deterministic: the pipeline as it is now takes another path" in told.stdout
