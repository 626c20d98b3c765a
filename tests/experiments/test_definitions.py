"""What is refused before anything starts, with every mistake at once."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import pytest

from metta.sweep import Choice, DefinitionError, LogUniform, Uniform
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.schedulers import SynchronousBatchScheduler

X = {"x": Uniform(0, 1)}

# mistakes that type checkers would find, too
Sweep: Any = SweepExperiment
Local: Any = LocalExecutor
Batch: Any = SynchronousBatchScheduler


def train(params: dict[str, Any]) -> dict[str, float]:
    return {"accuracy": params["x"]}


def bare(params: dict[str, Any]) -> float:
    return math.sqrt(params["x"])


def argumentless() -> dict[str, float]:
    return {"accuracy": 1.0}


def test_every_mistake_is_told_at_once() -> None:
    space: Any = {"lr": LogUniform(0.1, 0.001), "layers": 3, "model": Choice([])}
    wrong: dict[str, Any] = {"goal": "max", "retry": 0, "timeout": -1, "max_failures": 0, "seed": "a"}
    with pytest.raises(DefinitionError) as caught:
        Sweep(argumentless, space, name="a b", optimizer=LocalExecutor(), **wrong)
    assert str(caught.value).splitlines()[0] == "11 mistakes in the sweep a b:"
    for part in (
        "name 'a b' has to be letters, digits",
        "the objective argumentless takes no argument; write `def train(trial: Trial)`",
        "optimizer has to be an object such as RandomOptimizer(), got <metta.sweep.executors.local",
        "search_space: lr: low must be at most high, got low=0.1 and high=0.001",
        "search_space: layers: 3 is not a distribution; write Constant(3)",
        "search_space: model: values must be a list with at least one value, got []",
        "goal: input should be 'maximize' or 'minimize', got 'max'",
        "retry.max_attempts: input should be greater than or equal to 1, got 0",
        "timeout: input should be greater than 0, got -1",
        "max_failures: input should be greater than or equal to 1, got 0",
        "seed: input should be a valid integer, unable to parse string as an integer, got 'a'",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (partial(Sweep, train, X, optimiser=1), "optimiser is unknown; did you mean optimizer?"),
        (partial(Local, max_paralel=2), "max_paralel is unknown; did you mean max_parallel?"),
        (partial(Batch, batchsize=2), "batchsize is unknown; did you mean batch_size?"),
        (partial(Sweep, train, X, "digits"), "it takes 2 arguments by position, got 3"),
        (partial(Sweep), "objective is missing; give a function, or a reference"),
        (partial(Sweep, train), "search_space is missing"),
        (partial(Sweep, train, {}), "search_space: it has no parameter; give it one"),
        (partial(Sweep, train, X, name=3), "name 3 has to be letters"),
        (
            partial(Sweep, train, X, base_experiment=train),
            "objective and base_experiment are two names of one argument",
        ),
        (partial(Sweep, train, X, optimizer=RandomOptimizer), "call it: RandomOptimizer()"),
        (
            partial(Sweep, train, X, scheduler="batch"),
            "such as AsynchronousScheduler(), got 'batch'",
        ),
        (partial(Sweep, 3, X), "the objective 3 cannot be called; write `def train"),
        (partial(Sweep, lambda a, b: 1, X), "needs a, b, but it gets one argument"),
        (partial(Sweep, "train", X), "'train' names nothing that can be imported; write 'package"),
        (partial(Sweep, "no_such_module:train", X), "No module named 'no_such_module'"),
        (partial(Sweep, "math:squrt", X), "there is no 'squrt'"),
        (partial(Sweep, "absent.py:train", X), "there is no file 'absent.py'"),
        (partial(Sweep, bare, X), 'add goal="maximize" or goal="minimize", or return a dict'),
        (partial(Sweep, f"{__name__}:bare", X), 'add goal="maximize" or goal="minimize"'),
    ],
)
def test_a_mistake_is_told_with_what_would_be_right(made: Callable[[], object], message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        made()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (-3, "the budget: trials: input should be greater than or equal to 1, got -3"),
        ("many", "the budget: write a number of trials, or limits such as"),
        (True, "write a number of trials"),
        ({"trails": 3}, "trails is unknown; did you mean trials?"),
    ],
)
def test_a_wrong_budget_is_refused(project: Path, budget: Any, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        SweepExperiment(train, X).run(budget)
    assert message in str(caught.value)
    assert not (project / ".metta-sweep").exists()


def test_what_cannot_travel_by_value_is_told(project: Path) -> None:
    lock = Lock()

    def locked(params: dict[str, Any]) -> dict[str, float]:
        with lock:
            return {"accuracy": params["x"]}

    with pytest.raises(
        DefinitionError, match=r"locked has to travel to other processes by value, and cannot"
    ):
        SweepExperiment(locked, X).run(1)


@pytest.mark.parametrize("goal", [None, "minimize"])
@pytest.mark.parametrize(
    ("metric", "named"), [("val_loss", "minimize"), ("accuracy", "maximize"), (None, None)]
)
def test_a_goal_is_inferred_from_a_metric_alone(metric: str | None, named: str | None, goal: Any) -> None:
    sweep = SweepExperiment(train, X, metric=metric, goal=goal)
    assert sweep._spec.goal == (goal or named)


def test_the_space_may_stand_in_the_optimizer() -> None:
    sweep = SweepExperiment(train, optimizer=RandomOptimizer(X))
    assert list(sweep._spec.search_space) == ["x"]
    assert sweep._spec.optimizer.options == {}
