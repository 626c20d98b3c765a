"""Experiments that the tests of trials try, in stage processes; each notes what it does where it stands."""

from pathlib import Path
from time import sleep
from typing import Any, NamedTuple

from pydantic import BaseModel

from metta.sweep import Infeasible, current_stage
from metta.sweep.experiments.base import Experiment, Pipeline


class Score(NamedTuple):
    accuracy: float
    model: str


class Form(BaseModel):
    accuracy: float


def noted(text: str) -> None:
    with Path("notes").open("a", encoding="utf-8") as notes:
        notes.write(f"{text}\n")


class Trained(Experiment):
    """Two stages, the second of which can be held up."""

    x: float
    scale: float = 1.0
    gate: str = ""

    def train(self) -> float:
        noted(f"train {self.x:.3f}")
        return self.x * self.scale

    def score(self, value: float) -> Score:
        noted(f"score {self.x:.3f} {current_stage().seed}")
        while self.gate and not Path(self.gate).exists():
            sleep(0.02)
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
