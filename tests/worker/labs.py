"""A package of a team, what lies beside it, and shared workers that register it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

PATIENCE_S = 40.0

TRAINING = """
from pathlib import Path
from time import sleep

from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment
from metta.sweep.experiments.base import Experiment, Pipeline
from metta.sweep import Uniform

SPACE = {"x": Uniform(0, 1)}


def train(params):
    return {"accuracy": params["x"]}


def gated(trial):
    \"\"\"Reports until somebody opens the gate.\"\"\"
    step = 0
    while not Path("gate").exists():
        step += 1
        trial.report(step=step, accuracy=trial.params["x"])
        sleep(0.02)
    return {"accuracy": trial.params["x"]}


async def search(n: int) -> float:
    sweep = SweepExperiment(train, SPACE, seed=1, executor=LocalExecutor(max_parallel=1))
    return (await sweep.run(budget=n)).best_metric


async def search_elsewhere(n: int) -> float:
    return (await SweepExperiment("my_labels:train", SPACE, seed=1).run(budget=n)).best_metric


class Astray(Experiment):
    def pipeline(self) -> Pipeline:
        return Pipeline().stage("ready", lambda n: 2).stage("search", search_elsewhere)


class Search(Experiment):
    n: int = 2

    def pipeline(self) -> Pipeline:
        return Pipeline().stage("ready", lambda n: self.n).stage("search", search)
"""

OUTSIDE = """
from dataclasses import dataclass
from pathlib import Path

from metta.sweep.experiments.base import Experiment, Pipeline
from metta.sweep.optimizers import RandomOptimizer

Path("{mark}").touch()


@dataclass
class Batch:
    rows: int


class Mine(RandomOptimizer):
    pass


class Elsewhere(Experiment):
    def pipeline(self) -> Pipeline:
        return Pipeline().stage("one", lambda n: 1)


def train(params):
    return {{"accuracy": params["x"]}}
"""

SWEEP = """
from metta.sweep.experiments import SweepExperiment
from metta.sweep.executors import LocalExecutor
from my_lab.training import SPACE, {objective}

sweep = SweepExperiment({objective}, SPACE, seed=1, executor=LocalExecutor(max_parallel=1), name="{name}")
sweep.run(budget=3)
"""


def make_lab(folder: Path) -> Path:
    """A package, and a module that nobody registers.

    Returns:
        A file that appears when the module is imported.
    """
    (folder / "my_lab").mkdir()
    (folder / "my_lab" / "__init__.py").touch()
    (folder / "my_lab" / "training.py").write_text(TRAINING, "utf-8")
    mark = folder / "imported"
    (folder / "my_labels.py").write_text(OUTSIDE.format(mark=mark), "utf-8")
    return mark


@contextmanager
def shared(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A worker that is started by the command in the current folder, and serves when this is entered."""
    log = Path("worker.log")
    begin = log.stat().st_size if log.exists() else 0
    with log.open("ab") as file:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("sweep")), "worker", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
    try:
        deadline = monotonic() + PATIENCE_S
        while b"serving the task queue" not in log.read_bytes()[begin:]:
            assert process.poll() is None, log.read_text("utf-8")
            assert monotonic() < deadline, log.read_text("utf-8")
            sleep(0.05)
        yield process
    finally:
        process.kill()
        process.communicate()
