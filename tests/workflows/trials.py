"""Experiments that the tests of trials try, in stage processes; each notes what it does where it stands."""

import os
import signal
from pathlib import Path
from time import sleep
from typing import Any, NamedTuple

from pydantic import BaseModel

from metta.sweep import Infeasible, Uniform, current_stage
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import Results, SweepExperiment
from metta.sweep.experiments.base import Experiment, Pipeline


class Score(NamedTuple):
    accuracy: float
    model: str


class Form(BaseModel):
    accuracy: float


def noted(text: str) -> None:
    with Path("notes").open("a", encoding="utf-8") as notes:
        notes.write(f"{text}\n")


def wait_for(file: str) -> None:
    while file and not Path(file).exists():
        sleep(0.02)


class Trained(Experiment):
    """Two stages, each of which waits for a file, where one is named."""

    x: float
    scale: float = 1.0
    door: str = ""
    gate: str = ""

    def train(self) -> float:
        noted(f"train {self.x:.3f}")
        wait_for(self.door)
        return self.x * self.scale

    def score(self, value: float) -> Score:
        noted(f"score {self.x:.3f} {current_stage().seed}")
        wait_for(self.gate)
        return Score(value, "a model")

    def pipeline(self) -> Pipeline[Score]:
        return Pipeline().stage("train", self.train).stage("score", self.score).through(Score)


def nothing(x: float) -> None:
    return None


def text(x: float) -> str:
    return "good"


def nan(x: float) -> dict[str, float]:
    return {"accuracy": float("nan")}


def other(x: float) -> dict[str, float]:
    return {"loss": x}


def words(x: float) -> dict[str, str]:
    return {"accuracy": "high"}


def raising(x: float) -> float:
    raise KeyError("no luck today")


def hungry(x: float) -> float:
    raise MemoryError("too much")


def senseless(x: float) -> float:
    raise Infeasible("x is not for this")


def slow(x: float) -> float:
    sleep(600)
    return x


def form(x: float) -> Form:
    return Form(accuracy=x)


def large(x: float) -> dict[str, Any]:
    return {"accuracy": x, "weights": "w" * 10_000}


def number(x: float) -> float:
    return x


class One(Experiment):
    """One stage, by its name."""

    x: float
    does: str
    timeout: float | None = None

    def run_it(self) -> Any:
        noted(self.does)
        return globals()[self.does](self.x)

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("it", self.run_it).through(timeout=self.timeout)


class Lucky(Experiment):
    """Its second stage has luck the second time."""

    x: float

    def prepare(self) -> float:
        noted("prepare")
        return self.x

    def luck(self, value: float) -> float:
        noted("luck")
        if Path("notes").read_text("utf-8").count("luck") < 2:
            raise ValueError("not yet")
        return value

    def pipeline(self) -> Pipeline[float]:
        return Pipeline().stage("prepare", self.prepare).stage("luck", self.luck).through(float)


class Mortal(Experiment):
    """Somebody kills its process the first time."""

    x: float

    def live(self) -> float:
        if not Path("killed").exists():
            Path("killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.x

    def pipeline(self) -> Pipeline[float]:
        return Pipeline().stage("live", self.live).through(float)


def refine(params: dict[str, float]) -> dict[str, float]:
    noted("refine")
    return {"loss": params["y"]}


class Nested(Experiment):
    """A sweep within a trial of a sweep."""

    x: float

    def best(self, found: Results) -> dict[str, float]:
        return {"accuracy": self.x - found.best_metric}

    def pipeline(self) -> Pipeline[dict[str, float]]:
        one = LocalExecutor(max_parallel=1)
        sweep = SweepExperiment(refine, {"y": Uniform(0, 1)}, metric="loss", executor=one, budget=2)
        return Pipeline().stage("refine", sweep).stage("best", self.best).through(dict[str, float])
