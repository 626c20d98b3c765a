"""What an optimizer is told by hand is kept for its experiment; what a search tells it is not."""

import pickle
from dataclasses import dataclass
from typing import Any

import pytest

from metta.sweep import Trial, Uniform
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.failures import Failure
from metta.sweep.contracts.spaces import SearchSpace
from metta.sweep.contracts.trials import Observation, Result
from metta.sweep.optimizers import Optimizer, OptunaOptimizer, RandomOptimizer

SPACE = SearchSpace({"x": Uniform(0, 1)})
FAILURE = Failure(kind="user", message="it raised")


class Plain(Optimizer):
    """Two methods and a constructor of its own, that calls no other one."""

    def __init__(self) -> None:
        self.told = 0

    def suggest(self, n: int) -> list[Trial]:
        return [Trial({"x": 0.5})] * n

    def observe(self, trial: Trial, result: Result) -> None:
        self.told += 1


class Turned(Plain):
    """Tells its base something else than it is told itself."""

    def observe(self, trial: Trial, result: Result) -> None:
        assert isinstance(result, float)
        super().observe(Trial(trial.params, trial.number + 1000), -result)


class Inheriting(Turned):
    """Adds nothing."""


@dataclass(frozen=True)
class Frozen(Optimizer):
    size: int = 3

    def suggest(self, n: int) -> list[Trial]:
        return []

    def observe(self, trial: Trial, result: Result) -> None:
        """Nothing is learnt."""


OWN: list[type[Any]] = [Plain, Turned, Inheriting, Frozen]
each = pytest.mark.parametrize("made", [*OWN, OptunaOptimizer, RandomOptimizer])


@each
def test_it_keeps_each_observation_once_as_it_was_told(made: type[Any]) -> None:
    optimizer: Optimizer = made()
    assert optimizer.told_by_hand == []
    late, early = Trial({"x": 0.5}, 4), Trial({"x": 0.1}, -3, ended_at=2)
    optimizer.observe(late, {"loss": 0.25} if made is OptunaOptimizer else 0.25)
    optimizer.observe(early, {"loss": 0.5} if made is OptunaOptimizer else 0.5)
    assert [found.trial for found in optimizer.told_by_hand] == [early, late]
    assert [found.result for found in optimizer.told_by_hand] in (
        [0.5, 0.25],
        [{"loss": 0.5}, {"loss": 0.25}],
    )


def test_the_later_of_two_results_of_a_trial_counts() -> None:
    optimizer, trial = Plain(), Trial({"x": 0.5}, 4)
    optimizer.observe(trial, FAILURE)
    optimizer.observe(trial, 0.5)
    assert optimizer.told_by_hand == [Observation(trial, 0.5)]


def test_its_arguments_may_have_names_of_their_own() -> None:
    class Named(Plain):
        def observe(  # pyright: ignore[reportIncompatibleMethodOverride]  # users do it
            self, tried: Trial, value: Result
        ) -> None:
            """Nothing is learnt."""

    optimizer, trial = Named(), Trial({"x": 0.5})
    optimizer.observe(value=0.5, tried=trial)
    assert optimizer.told_by_hand == [Observation(trial, 0.5)]


def test_what_it_refuses_is_not_kept() -> None:
    optimizer = Turned()
    with pytest.raises(AssertionError):
        optimizer.observe(Trial({"x": 0.5}), FAILURE)
    assert optimizer.told_by_hand == []
    optimizer.observe(Trial({"x": 0.5}), 0.5)
    assert len(optimizer.told_by_hand) == 1


@each
def test_a_search_is_not_listened_to(made: type[Any]) -> None:
    optimizer: Optimizer = made() if made is not Frozen else Plain()
    optimizer.setup(SPACE, (), seed=7)
    for number in range(5):
        optimizer.observe(Trial({"x": 0.5}, number), {"loss": 0.5} if made is OptunaOptimizer else 0.5)
    assert optimizer.told_by_hand == []


def test_each_object_keeps_its_own() -> None:
    one, other = Plain(), Plain()
    one.observe(Trial({"x": 0.5}), 0.5)
    assert (len(one.told_by_hand), other.told_by_hand) == (1, [])
    assert "told_by_hand" not in one.spec().options


def test_it_can_be_pickled_and_goes_on() -> None:
    optimizer = RandomOptimizer(SPACE, seed=1)
    optimizer.observe(Trial({"x": 0.5}), 0.5)
    copy = pickle.loads(pickle.dumps(optimizer))
    copy.observe(Trial({"x": 0.5}, 1), 0.25)
    assert [found.result for found in copy.told_by_hand] == [0.5, 0.25]
    assert len(optimizer.told_by_hand) == 1


def test_a_class_that_does_not_say_how_it_observes_is_refused_as_before() -> None:
    class Half(Optimizer):
        def suggest(self, n: int) -> list[Trial]:
            return []

    with pytest.raises(Exception, match="it does not define observe"):
        Half()  # type: ignore[abstract]  # the mistake


def test_another_trial_of_the_same_number_is_refused_instead_of_taking_its_place() -> None:
    optimizer = RandomOptimizer()
    optimizer.observe(Trial({"x": 0.1}), 0.5)
    optimizer.observe(Trial({"x": 0.1}), 0.6)
    with pytest.raises(DefinitionError, match=r"trial 0 was observed before.*a number of its own"):
        optimizer.observe(Trial({"x": 0.2}), 0.7)
    assert [(o.trial.params, o.result) for o in optimizer.told_by_hand] == [({"x": 0.1}, 0.6)]
