"""Pipelines that the tests of the workflow run in its stage processes."""

import logging
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metta.sweep import RetryPolicy, Uniform, current_stage
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment
from metta.sweep.experiments.base import Experiment, Pipeline

BRANCHES = 500


class Model(NamedTuple):
    """What `train` gives."""

    weight: float
    steps: int


def noted(text: str) -> None:
    """Append a line to what stages have done."""
    with Path("notes").open("a", encoding="utf-8") as notes:
        notes.write(f"{text}\n")


def train(weight: float) -> Model:
    noted("train")
    return Model(weight=weight, steps=1)


def evaluate(model: Model) -> float:
    noted("evaluate")
    return model.weight * 2


plain = Pipeline().stage("train", train).through(Model).stage("evaluate", evaluate)


def count(total: int) -> int:
    noted(f"count {current_stage().key} {current_stage().seed}")
    return total + 1


loop = (
    Pipeline()
    .through(total=int)
    .loop_while(lambda total: total < 5)
    .stage("count", count)
    .through(total=int)
    .end_loop()
)


def left(x: int) -> int:
    return x + 1


def right(x: int) -> int:
    return x + 2


branches = (
    Pipeline()
    .through(x=int)
    .parallel({"left": left, "right": right})
    .conditional(lambda ctx: ctx.left < ctx.right, lambda left: f"less {left}", lambda left: f"more {left}")
)


def flaky(x: int) -> int:
    noted("flaky")
    if Path("notes").read_text("utf-8").count("flaky") < 3:
        raise ValueError("not yet")
    return x


retried = (
    Pipeline()
    .through(x=int)
    .stage("flaky", flaky)
    .through(x=int, retry=RetryPolicy(max_attempts=3, backoff="constant", initial=0.01))
)


def wrong(x: int) -> int:
    noted("wrong")
    raise KeyError("nothing there")


failing = Pipeline().through(x=int).stage("wrong", wrong).through(x=int, retry=2)


def replaced(error: Exception, data: Any) -> int:
    noted(f"on_error {type(error).__name__}")
    return -1


recovered = Pipeline().through(x=int).stage("wrong", wrong).through(x=int, on_error=replaced)


def crash(x: int) -> int:
    print("about to crash")
    os.kill(os.getpid(), signal.SIGSEGV)
    return x


crashing = Pipeline().through(x=int).stage("crash", crash).through(x=int, on_error=replaced)


def hang(x: int) -> int:
    sleep(600)
    return x


hanging = Pipeline().through(x=int).stage("hang", hang).through(x=int, timeout=0.5, on_error=replaced)


def leave(x: int) -> int:
    os._exit(3)


leaving = Pipeline().through(x=int).stage("leave", leave)


def talk(x: int) -> int:
    print("printed")
    logging.getLogger("mine").info("logged")
    return x


talking = Pipeline().through(x=int).stage("talk", talk).through(x=int, log=lambda data: f"x is {data.x}")


def gated(x: int) -> int:
    noted("gated")
    while not Path("gate").exists():
        sleep(0.02)
    return x + 1


gates = Pipeline().through(x=int).stage("gated", gated).through(x=int).stage("after", left).through(x=int)

misfit: Pipeline[Any] = Pipeline().stage("train", train).through(Model).stage("evaluate", count)  # type: ignore[arg-type]  # that is the point


def many(number: int) -> Any:
    """A branch of its own name."""

    def branch(x: int) -> int:
        return x * number

    return branch


def total(data: Any) -> int:
    return sum(value for name, value in vars(data).items() if name.startswith("b"))


wide = (
    Pipeline()
    .through(x=int)
    .parallel({f"b{number}": many(number) for number in range(40)})
    .stage("total", total)
)


class Turns(NamedTuple):
    """What the loop in a branch counts."""

    turns: int


def turn(data: Turns) -> Turns:
    return Turns(data.turns + 1)


def begin() -> Turns:
    return Turns(0)


def looped(end: int) -> Pipeline[Any]:
    """A branch that turns a while."""
    return (
        Pipeline()
        .stage("begin", begin)
        .through(Turns)
        .loop_while(lambda data: data.turns < end)
        .stage("turn", turn)
        .through(Turns)
        .end_loop()
    )


loops = Pipeline().parallel({"short": looped(3), "long": looped(15)})


def objective(params: dict[str, float]) -> dict[str, float]:
    noted("trial")
    return {"accuracy": params["x"]}


def searching(name: str) -> SweepExperiment:
    """A small sweep, which is no good under a certain name."""
    space = {"x": Uniform(0, 1)}
    return SweepExperiment(objective, space, budget=3, seed=len(name), executor=LocalExecutor(max_parallel=1))


def better(ctx: Any) -> bool:
    return bool(ctx.one.best_metric >= ctx.other.best_metric)


def which(ctx: Any) -> dict[str, Any]:
    return {"one": ctx.one.best_params, "other": ctx.other.best_params}


searched = (
    Pipeline()
    .parallel({"one": searching("one"), "other": searching("other one")})
    .conditional(better, which, which)
)


def fruitless(params: dict[str, float]) -> dict[str, float]:
    raise ValueError("no luck today")


unlucky = (
    Pipeline()
    .stage("search", SweepExperiment(fruitless, {"x": Uniform(0, 1)}, metric="accuracy", budget=2))
    .through(found=Any, on_error=replaced)
)

skipped = (
    Pipeline()
    .through(x=int)
    .stage("search", searching("one"))
    .through(skip_if=lambda ctx: ctx.x > 0)
    .stage("after", left)
)

LARGE = 25_000_000


def large() -> NDArray[np.float64]:
    return np.arange(LARGE, dtype=np.float64)


def last(array: NDArray[np.float64]) -> float:
    return float(array[-1])


arrays = Pipeline().stage("large", large).stage("last", last)

endless = (
    Pipeline()
    .through(total=int, end=int)
    .loop_while(lambda total, end: total < end)
    .stage("add", lambda total, end: {"total": total + 1, "end": end})
    .through(total=int, end=int)
    .end_loop()
)

wider = (
    Pipeline()
    .through(x=int, text=str)
    .parallel({f"b{number}": many(number) for number in range(BRANCHES)})
    .stage("total", total)
)


class Sized(Experiment):
    """An experiment with a field."""

    size: int

    def squared(self) -> int:
        return self.size**2

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("squared", self.squared)


nested = (
    Pipeline().stage("square", Sized(size=4)).through(square=int).stage("after", lambda square: square + 1)
)


@dataclass
class Adder:
    """A callable object, which has no hash, because it can be compared."""

    number: int

    def __call__(self, x: int) -> int:
        return x + self.number


objects = Pipeline().through(x=int).stage("add", Adder(2))


def noted_square(x: int) -> int:
    noted("square")
    return x * x


squares = Pipeline().through(x=int).stage("square", noted_square).through(y=int, cache=True)
