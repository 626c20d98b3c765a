"""A small model that learns step by step, and notes each step it takes in a file of its own.

sweep run tests/crash/training.py
"""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from random import Random
from statistics import fmean
from subprocess import Popen
from time import sleep
from typing import Any, NamedTuple

from metta.sweep import Choice, LogUniform, Trial, Uniform
from metta.sweep.contracts.jobs import Job
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment
from metta.sweep.optimizers import OptunaOptimizer
from metta.sweep.schedulers import ASHAScheduler

STEPS = 10
RUNGS = (2, 4, 8, 10)

STEP_S = 0.02
"""A step takes a while, as real ones do; the arithmetic alone would be over at once."""

SPACE = {
    "rate": LogUniform(0.01, 0.5),
    "batch": Choice([4, 8, 16]),
    "descent": Choice(["plain", "heavy"]),
    "heavy.momentum": Uniform(0.1, 0.9),  # only where descent is "heavy"
}
POINTS = [(x / 16, 3.0 * x / 16 - 1.0) for x in range(-16, 17)]


class State(NamedTuple):
    """A line, and how fast it moves."""

    slope: float = 0.0
    offset: float = 0.0
    slope_speed: float = 0.0
    offset_speed: float = 0.0

    def error(self, x: float, y: float) -> float:
        return self.slope * x + self.offset - y


def train(trial: Trial) -> None:
    """Fit a line by stochastic gradient descent; a step depends on its number and the state before it."""
    done, state = 0, State()
    if trial.resume_from:
        done, *numbers = json.loads(trial.resume_from.read_text("utf-8"))
        state = State(*numbers)
    for step in range(done + 1, STEPS + 1):
        note(trial, step)
        sleep(STEP_S)
        state = descended(state, trial, step)
        checkpoint = trial.checkpoint_dir / f"step-{step}.json"
        checkpoint.write_text(json.dumps([step, *state]), "utf-8")
        trial.report(step=step, loss=loss(state), checkpoint=checkpoint)


def train_with_children(trial: Trial) -> None:
    """The same beside processes of its own, which nobody waits for."""
    Popen(["/bin/sh", "-c", "sleep 1000 & sleep 1000"])
    train(trial)


def train_and_die(trial: Trial) -> None:
    """The same, and the first attempt does not live to tell that it has come to its end, or to a pause."""
    try:
        train(trial)
    finally:
        if trial.attempt == 1:
            os.kill(os.getpid(), signal.SIGKILL)


def descended(state: State, trial: Trial, step: int) -> State:
    """The state after a step on a batch of points."""
    batch = Random(f"{trial.seed}/{step}").sample(POINTS, trial.params["batch"])
    rate, momentum = trial.params["rate"], trial.params.get("heavy.momentum", 0.0)
    slope_speed = momentum * state.slope_speed - rate * fmean(x * state.error(x, y) for x, y in batch)
    offset_speed = momentum * state.offset_speed - rate * fmean(state.error(x, y) for x, y in batch)
    return State(state.slope + slope_speed, state.offset + offset_speed, slope_speed, offset_speed)


def loss(state: State) -> float:
    """Mean squared error on all points."""
    return fmean(state.error(x, y) ** 2 for x, y in POINTS)


def note(trial: Trial, step: int) -> None:
    """One write, so that lines of several processes do not mix, and a kill leaves all of it or nothing."""
    segment = trial.checkpoint_dir.parents[1]
    sweep = segment.parents[2]
    line = [trial.number, int(segment.name.removeprefix("seg-")), trial.attempt, step]
    file = os.open(audit_of(sweep), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{line}\n".encode())
    os.close(file)


def audit_of(sweep: Path) -> Path:
    """Where the trials of a sweep note what they do: beside all that is recorded, not among it."""
    return sweep.parents[1] / f"{sweep.name}-steps.jsonl"


def experiment(
    objective: Callable[[Trial], None] | Job, max_parallel: int = 1, **more: Any
) -> SweepExperiment:
    return SweepExperiment(
        objective=objective,
        search_space=SPACE,
        metric="loss",
        seed=7,
        executor=LocalExecutor(max_parallel),
        **more,
    )


def that_learns() -> dict[str, Any]:
    """Parts that keep state: what they suggest depends on all that came before."""
    return {
        "optimizer": OptunaOptimizer(sampler="TPE"),
        "scheduler": ASHAScheduler(max_epochs=RUNGS[-1], grace_period=RUNGS[0], reduction_factor=2),
    }


narrow = experiment(train)
mortal = experiment(train_and_die)
halving = experiment(train, **that_learns())
mortal_halving = experiment(train_and_die, **that_learns())
parents = experiment(train_with_children, max_parallel=2)

if __name__ == "__main__":
    narrow.run(budget=8)
