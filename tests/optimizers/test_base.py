"""Optimizers of users: two methods are enough, in a sweep and by hand."""

from pathlib import Path
from typing import Any

import pytest

from metta.sweep import Choice, DefinitionError, Trial, Uniform
from metta.sweep.contracts.failures import Failure
from metta.sweep.contracts.trials import Result
from metta.sweep.experiments import SweepExperiment
from metta.sweep.optimizers import Optimizer

SPACE = {"x": Uniform(0, 100), "kind": Choice(["even", "odd"])}


class Counter(Optimizer):
    """Two methods, no constructor, and a state that needs every ask and every answer."""

    asked = 0
    seen: tuple[object, ...] = ()

    def suggest(self, n: int) -> list[Trial]:
        found = []
        for _ in range(n):
            self.asked += 1
            x = float(self.asked + 10 * len(self.seen))
            found.append(Trial({"x": x, "kind": "odd" if self.asked % 2 else "even"}))
        return found

    def observe(self, trial: Trial, result: Result) -> None:
        self.seen = (*self.seen, (trial.number, trial.params["x"], result))


class Own(Counter):
    """A constructor of its own that calls no other one."""

    def __init__(self, start: int, factor: float = 1.0) -> None:
        self.asked = start
        self.factor = factor


class Two(Counter):
    """Is at its end after two trials."""

    def suggest(self, n: int) -> list[Trial]:
        return super().suggest(min(n, max(0, 2 - self.asked)))


class Forgetful(Optimizer):
    def suggest(self, n: int) -> list[Trial]:
        return []


OBSERVED: list[tuple[int, str, Result]] = []


class Listener(Counter):
    def observe(self, trial: Trial, result: Result) -> None:
        OBSERVED.append((trial.number, trial.params["kind"], result))


def train(params: dict[str, Any]) -> dict[str, float]:
    if params["x"] == 3:
        raise ValueError("no three")
    return {"loss": params["x"]}


def swept(optimizer: Optimizer, budget: int, **options: Any) -> list[Any]:
    sweep = SweepExperiment(train, SPACE, optimizer=optimizer, name="mine", seed=1)
    return [trial.params["x"] for trial in sweep.run(budget, debug=True, **options).trials]


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        (Counter(), [1, 12, 23, 34]),
        (Own(start=5), [6, 17, 28, 39]),
        (Own(5, factor=2), [6, 17, 28, 39]),
        (Two(), [1, 12]),
    ],
)
def test_two_methods_are_enough(optimizer: Optimizer, expected: list[float]) -> None:
    assert swept(optimizer, budget=4) == expected


@pytest.mark.usefixtures("project")
def test_a_new_object_is_brought_to_the_state_of_the_old_one() -> None:
    swept(Counter(), budget=2)
    assert swept(Counter(), budget=4, resume=True) == [1, 12, 23, 34]


@pytest.mark.usefixtures("project")
def test_it_is_told_the_value_that_counts_and_every_failure() -> None:
    OBSERVED.clear()
    swept(Listener(), budget=4)
    *first, (number, kind, failure), last = OBSERVED
    assert first == [(0, "odd", 1.0), (1, "even", 2.0)]
    assert (number, kind, type(failure)) == (2, "odd", Failure)
    assert last == (3, "even", 4.0)


def test_the_space_may_stand_in_the_optimizer_alone(project: Path) -> None:
    sweep = SweepExperiment(train, optimizer=Counter(SPACE), name="mine")
    assert len(sweep.run(2, debug=True).trials) == 2


def test_what_a_subclass_forgot_is_told() -> None:
    forgetful: Any = Forgetful
    with pytest.raises(DefinitionError, match="Forgetful: it does not define observe"):
        forgetful()


def test_the_options_of_a_constructor_of_its_own_are_kept() -> None:
    assert Own(3, factor=0.5).spec().options == {"start": 3, "factor": 0.5}
    wrong: dict[str, Any] = {"start": 3, "factr": 1}
    with pytest.raises(DefinitionError, match="factr is unknown; did you mean factor"):
        Own(**wrong)
