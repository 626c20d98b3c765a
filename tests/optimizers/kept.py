"""Optimizers as JSON: a program that goes on with one where another process has left it."""

import json
import sys
from collections.abc import Mapping
from typing import Any

from optuna.samplers import CmaEsSampler
from pydantic import TypeAdapter

from metta.sweep.contracts.failures import Failure
from metta.sweep.contracts.trials import Result, Trial
from metta.sweep.optimizers import Optimizer, OptunaOptimizer, RandomOptimizer
from tests.optimizers.lives import SPACES

FIELD: TypeAdapter[Optimizer] = TypeAdapter(Optimizer)


class Halving(Optimizer):
    """Two methods, no constructor, numbers of no trial, and a state that needs every call."""

    asked = 0
    best = 1.0

    def suggest(self, n: int) -> list[Trial]:
        self.asked += n
        jitter = self.rng(self.asked).random()
        return [Trial({"x": self.best / 2 + jitter / self.asked}) for _ in range(n)]

    def observe(self, trial: Trial, result: Result) -> None:
        if isinstance(result, Mapping):
            self.best = min(self.best, result["loss"], trial.params["x"])


class Ended(Halving):
    """Has three trials in all."""

    def suggest(self, n: int) -> list[Trial]:
        return super().suggest(n) if self.asked < 3 else []


class Failing(Halving):
    """Cannot learn of failures."""

    def observe(self, trial: Trial, result: Result) -> None:
        if isinstance(result, Failure):
            raise ValueError("what is that?")
        super().observe(trial, result)


def made(name: str) -> Optimizer:
    """A new optimizer by its name."""
    space = SPACES["conditional" if name == "random" else "flat"]
    match name:
        case "random":
            return RandomOptimizer(space, seed=3)
        case "tpe":
            return OptunaOptimizer(space, seed=3, n_startup_trials=3)
        case "conditional tpe":
            return OptunaOptimizer(SPACES["conditional"], seed=3, n_startup_trials=3)
        case "cmaes":
            return OptunaOptimizer(space, sampler=CmaEsSampler(seed=3, n_startup_trials=2))
    return Halving()


NAMES = ("random", "tpe", "conditional tpe", "cmaes", "own")


RESULTS: list[Result] = [
    {"loss": 0.5},
    Failure(kind="user", message="it raised"),
    {"loss": 0.25},
    {"loss": 1e300},
    Failure(kind="infeasible", message="makes no sense"),
]


def lived(optimizer: Optimizer, *turns: int) -> list[dict[str, Any]]:
    """What it suggests when it is asked for two each turn, and told of one, not always of the older one."""
    waiting: list[Trial] = []
    for turn in range(*turns):
        found = [Trial(t.params, 2 * turn + k) for k, t in enumerate(optimizer.suggest(2))]
        waiting += found
        optimizer.observe(waiting.pop(turn % 2), RESULTS[turn % len(RESULTS)])
    return [trial.params for trial in waiting]


def asked(optimizer: Optimizer) -> list[dict[str, Any]]:
    """What it suggests next."""
    return [trial.params for trial in optimizer.suggest(3)]


if __name__ == "__main__":
    print(json.dumps(asked(FIELD.validate_json(sys.stdin.read()))))
