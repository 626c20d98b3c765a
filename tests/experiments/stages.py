"""An experiment and pipelines in a module, as other processes import it."""

from pathlib import Path
from time import sleep
from typing import Any, NamedTuple

from pydantic_core.core_schema import no_info_plain_validator_function

from metta.sweep.experiments import Experiment
from metta.sweep.experiments.base import Pipeline


class Sum(NamedTuple):
    total: float


class Add(Experiment):
    more: float = 1.0

    def pipeline(self) -> Pipeline[Sum]:
        return Pipeline().stage("add", self.add).through(Sum)

    def add(self, x: float) -> Sum:
        return Sum(x + self.more)


def noted(x: int) -> int:
    with Path("notes").open("a", encoding="utf-8") as notes:
        notes.write("noted\n")
    return x


def gated(number: int, x: int) -> int:
    """Wait until somebody opens its gate."""
    while not Path(f"gate-{number}").exists():
        sleep(0.02)
    return x + 1


def zero(x: int) -> int:
    return gated(0, x)


def one(x: int) -> int:
    return gated(1, x)


def two(x: int) -> int:
    return gated(2, x)


class Network:
    """Has no form of its own."""

    def __init__(self, weight: float) -> None:
        self.weight = weight

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        return no_info_plain_validator_function(lambda form: form if isinstance(form, cls) else cls(**form))


class Grow(Experiment):
    weight: float

    def pipeline(self) -> Pipeline[Network]:
        return Pipeline().stage("grow", self.grow).through(Network, serialize=vars)

    def grow(self) -> Network:
        return Network(self.weight)


def unlucky(x: int) -> int:
    raise KeyError(x)


def total(summed: Sum) -> float:
    return summed.total


twice = Pipeline().stage("first", Add(more=2)).stage("total", total).stage("second", Add(more=3))
pipeline = Pipeline().stage("noted", noted)
gates = Pipeline().stage("zero", zero).stage("one", one).stage("two", two)
