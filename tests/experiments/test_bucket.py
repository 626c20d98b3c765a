"""Experiments and functions whose store lies in a bucket, and workers on machines that share nothing else."""

import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from uuid import uuid4

import pytest

from metta.sweep import Uniform
from metta.sweep.client.results import table_of
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.outcomes import StageEnded
from metta.sweep.executors import WorkerExecutor
from metta.sweep.experiments import SweepExperiment
from metta.sweep.stores.s3 import S3Store
from tests.rig import standing, until
from tests.stores.weed import BUCKET, Weed
from tests.worker.processes import worker

ROOT = Path(__file__).parents[2]

STEADY = """\
import os
from pathlib import Path
from time import sleep

def train(trial):
    done = int(trial.resume_from.read_text()) if trial.resume_from else 0
    for step in range(done + 1, 16):
        sleep(0.2)
        with Path(os.environ["NOTES"]).open("a") as notes:
            notes.write(f"{trial.number} {step}\\n")
        file = trial.checkpoint_dir / f"{step}.txt"
        file.write_text(str(step))
        trial.report(step=step, accuracy=trial.params["x"] * step, checkpoint=file)
"""


NESTED = """\
import numpy as np
from metta.sweep import Uniform
from metta.sweep.experiments import SweepExperiment
from metta.sweep.experiments.base import Pipeline

def train(params):
    return {"accuracy": params["x"]}

def grow(results):
    return np.full(100_000, 1.0 + (results.best_metric > 0))

pipeline = (
    Pipeline()
    .stage("search", SweepExperiment(train, {"x": Uniform(0, 1)}, metric="accuracy", budget=2))
    .stage("grow", grow)
    .stage("sum", lambda array: float(array[:500].sum()) + 1)
)
if __name__ == "__main__":
    print(pipeline.run())
"""


TRIED = """\
import numpy as np
from metta.sweep import Uniform
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import Experiment, SweepExperiment
from metta.sweep.experiments.base import Pipeline

class Grow(Experiment):
    x: float

    def grow(self):
        return np.full(100_000, self.x)

    def score(self, array):
        return {"accuracy": array[0], "notes": "n" * 10_000}

    def pipeline(self):
        return Pipeline().stage("grow", self.grow).stage("score", self.score)

one = LocalExecutor(max_parallel=1)
search = SweepExperiment(Grow, {"x": Uniform(0, 1)}, metric="accuracy", name="grown", executor=one)
if __name__ == "__main__":
    print(all(t.metrics == {"accuracy": t.params["x"]} for t in search.run(2).trials))
"""


@pytest.fixture
def store(weed: Weed, hosted: Path, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    prefix = f"tests/{uuid4().hex}"
    monkeypatch.setenv("METTA_SWEEP_STORE", f"s3://{BUCKET}/{prefix}")
    return S3Store(weed.objects(prefix), hosted / ".metta-sweep")


def sweep(*arguments: str) -> str:
    command = [str(Path(sys.executable).with_name("sweep")), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_all_hooks_keep_in_the_bucket_what_they_keep(store: S3Store, hosted: Path) -> None:
    example = str(ROOT / "examples/pipeline_cleaning.py")
    first = sweep("run", example, "--name", "cleaning")
    kept = [found.key for found in store.objects.listed()]
    assert "experiments/cleaning/checkpoints/fill.json" in kept
    assert "experiments/cleaning/diabetes.json" in kept
    assert [key for key in kept if key.startswith("cache/")]
    assert not (hosted / ".metta-sweep/experiments").exists()
    assert sweep("run", example, "--name", "cleaning", "--resume").splitlines()[-1] == first.splitlines()[-1]
    sweep("run", example, "--name", "again")
    assert "cached" in sweep("show", "again")


@pytest.mark.timeout(180)  # four programs, each with imports of its own
def test_an_experiment_in_the_bucket_is_retried_and_compared_by_name(store: S3Store, hosted: Path) -> None:
    example = str(ROOT / "examples/pipeline_cleaning.py")
    first = sweep("run", example, "--name", "cleaning")
    last = store.outcome_log("cleaning")
    ended = [entry for entry in last.entries() if isinstance(entry, StageEnded)]
    again = sweep("retry", "cleaning", "--from-stage", str(ended[-1].at))
    assert again.splitlines()[-1] == first.splitlines()[-1]
    stages = [entry.at for entry in store.outcome_log("cleaning").entries() if isinstance(entry, StageEnded)]
    assert stages == [*(entry.at for entry in ended), ended[-1].at]
    sweep("run", example, "--name", "again")
    assert "input: the same; result: the same" in sweep("diff", "cleaning", "again")


def test_sweeps_are_stages_and_arrays_flow_in_the_bucket(store: S3Store, hosted: Path) -> None:
    (hosted / "nested.py").write_text(NESTED, "utf-8")
    assert sweep("run", "nested.py", "--name", "nested") == "1001.0\n"
    assert store.experiment_names() == ["nested"]
    [inner] = store.names()
    assert table_of(store.ledger(inner)).counts.completed == 2
    assert [found for found in store.objects.listed("data/") if found.key.endswith(".npy")]


def test_functions_by_value_run_on_workers_and_leave_nothing_but_copies_here(
    store: S3Store, hosted: Path
) -> None:
    scale = 2.0
    experiment = SweepExperiment(
        lambda params: {"accuracy": scale * params["x"]},
        {"x": Uniform(0, 1)},
        executor=WorkerExecutor(max_parallel=2),
        seed=1,
        name="valued",
    )
    results = experiment.run(3)
    assert [t.metrics["accuracy"] for t in results.trials] == [2 * t.params["x"] for t in results.trials]
    assert store.names() == ["valued"]
    assert len(store.objects.listed("values/")) == 1


def notes(home: Path) -> list[tuple[int, int]]:
    file = home.with_suffix(".notes")
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    return [(int(trial), int(step)) for trial, step in map(str.split, lines)]


async def test_a_trial_goes_on_from_its_checkpoint_on_another_machine(
    store: S3Store, server: Settings, tmp_path: Path
) -> None:
    rig = await standing(server, tmp_path / "rig")
    (rig.folder / "steady.py").write_text(STEADY, "utf-8")
    definition = {
        "objective": "steady:train",
        "search_space": {"x": {"type": "uniform", "low": 0, "high": 1}},
        "executor": {"type": "worker", "max_parallel": 2},
        "metric": "accuracy",
        "goal": "maximize",
        "budget": 2,
    }
    one, other = tmp_path / "one", tmp_path / "other"

    def worker_at(home: Path) -> AbstractContextManager["subprocess.Popen[bytes]"]:
        """A worker on a machine of its own."""
        where = ("--store", store.address, "--home", str(home))
        return worker(rig, server, *where, NOTES=str(home.with_suffix(".notes")))

    with worker_at(one) as first:
        handle = await rig.start(definition)
        await until(lambda: any(step >= 10 for _, step in notes(one)))
        first.kill()
        with worker_at(other):
            await handle.result()
    table = table_of(store.ledger(handle.id))
    assert [(r.status, r.step) for r in table.records] == [("completed", 15), ("completed", 15)]
    assert min(step for _, step in notes(other)) > 1, "they began anew"
    assert not (other / "sweeps").exists()


def test_trials_that_are_experiments_keep_their_results_in_the_bucket(store: S3Store, hosted: Path) -> None:
    (hosted / "tried.py").write_text(TRIED, "utf-8")
    done = subprocess.run([sys.executable, "tried.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "True\n"
    assert store.experiment_names() == ["grown/trial-0/experiment", "grown/trial-1/experiment"]
