"""Lives of optimizers: what a search asks of one and tells it, always the same."""

import json
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from metta.sweep.contracts.components import ComponentSpec, create
from metta.sweep.contracts.distributions import Choice, Constant, Integer, LogUniform, Uniform
from metta.sweep.contracts.failures import Failure
from metta.sweep.contracts.metrics import Objective
from metta.sweep.contracts.spaces import SearchSpace
from metta.sweep.contracts.trials import Result, Trial
from metta.sweep.optimizers.base import Optimizer

SPACES = {
    "flat": SearchSpace(
        {
            "lr": LogUniform(1e-4, 0.1),
            "momentum": Uniform(0, 0.99),
            "layers": Integer(1, 8),
            "width": Integer(16, 1024, log=True),
            "activation": Choice(["relu", "tanh", None, 3, 0.5, True]),
            "shape": Choice([[1, 2], {"a": [3]}]),
            "optimizer": Constant({"name": "adam"}),
        }
    ),
    "stepped": SearchSpace(
        {
            "dropout": Uniform(0.1, 0.7, step=0.1),
            "offset": Uniform(-1, 1, step=0.25),
            "batch": Integer(32, 500, step=32),
            "odd": Integer(1, 99, step=2, log=True),
        }
    ),
    "conditional": SearchSpace(
        {
            "model": Choice(["cnn", "mlp", "linear"]),
            "cnn.layers": Integer(1, 4),
            "cnn.norm": Choice(["batch", "none"]),
            "batch.momentum": Uniform(0, 1),
            "mlp.width": Integer(16, 64),
            "dropout": Uniform(0, 0.5, when={"cnn.layers": [3, 4]}),
        }
    ),
    "one point": SearchSpace(
        {"a": Uniform(0.3, 0.3), "b": Integer(7, 7), "c": Choice(["x"]), "d": Constant(None)}
    ),
}

RESULTS: list[Result] = [
    0.5,
    {"accuracy": 0.25, "cost": 3.0},
    Failure(kind="user", message="it raised"),
    -1e300,
    Failure(kind="infeasible", message="makes no sense"),
    0,
    Failure(kind="cancelled", message="it was stopped before its first report"),
    0.5,
]
"""What becomes of trials, one after the other; equal and extreme values among them."""


class Ask(NamedTuple):
    """So many trials were asked for, and these came."""

    n: int
    trials: list[Trial]


class Told(NamedTuple):
    """This became of a trial."""

    trial: Trial
    result: Result


def born(name: str, space: SearchSpace, seed: int | str = 7) -> Optimizer:
    """A registered optimizer as a search makes it."""
    optimizer = create(Optimizer, ComponentSpec(type=name))
    optimizer.setup(space, (Objective("accuracy", "maximize"),), seed)
    return optimizer


def lived(optimizer: Optimizer, rounds: int = 6) -> Iterator[Ask | Told]:
    """Ask for trials and tell of some of them, others stay under way."""
    waiting: list[Trial] = []
    number = told = 0
    for turn in range(rounds):
        n = 1 + turn % 4
        optimizer.next_number = number
        suggested = [Trial(trial.params, number + k) for k, trial in enumerate(optimizer.suggest(n))]
        number += len(suggested)
        waiting += suggested
        yield Ask(n, suggested)
        for _ in range(min(turn % 3, len(waiting))):
            trial = waiting.pop(turn % len(waiting))  # not always the oldest
            optimizer.observe(trial, RESULTS[told % len(RESULTS)])
            yield Told(trial, RESULTS[told % len(RESULTS)])
            told += 1


def suggestions(optimizer: Optimizer, rounds: int = 6) -> list[dict[str, Any]]:
    """The parameters that it suggests during its life."""
    asks = (event for event in lived(optimizer, rounds) if isinstance(event, Ask))
    return [trial.params for ask in asks for trial in ask.trials]


if __name__ == "__main__":
    _, registered, chosen, given_seed = sys.argv
    print(json.dumps(suggestions(born(registered, SPACES[chosen], int(given_seed)))))
