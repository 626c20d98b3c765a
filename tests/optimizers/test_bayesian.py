"""What is its own of Bayesian optimization; what holds for every optimizer is in test_conformance."""

import importlib.util
from collections.abc import Mapping
from typing import Any

import pytest

from metta.sweep.contracts.distributions import Choice, Integer, LogUniform, Uniform
from metta.sweep.contracts.errors import DefinitionError, SpaceError
from metta.sweep.contracts.failures import Failure
from metta.sweep.contracts.metrics import Goal, Objective
from metta.sweep.contracts.spaces import SearchSpace
from metta.sweep.contracts.trials import Result, Trial
from metta.sweep.optimizers import bayesian
from metta.sweep.optimizers.bayesian import BayesianOptimizer

PLANE = SearchSpace({"x": Uniform(0, 1), "y": Uniform(0, 1)})

Bayesian: Any = BayesianOptimizer
"""Without its types: mistakes that type checkers would find, too."""


def bowl(params: Mapping[str, Any]) -> float:
    return float((params["x"] - 0.3) ** 2 + (params["y"] - 0.6) ** 2)


def told(optimizer: BayesianOptimizer, n: int, goal: Goal = "minimize") -> BayesianOptimizer:
    """One that was told of points all over the plane."""
    optimizer.setup(PLANE, (Objective("height", goal),), 7)
    for number in range(-n, 0):
        params = PLANE.sample(optimizer.rng(number, "a point"))
        optimizer.observe(Trial(params, number), bowl(params) * (1 if goal == "minimize" else -1))
    return optimizer


def suggested(optimizer: BayesianOptimizer, n: int) -> list[dict[str, Any]]:
    return [trial.params for trial in optimizer.suggest(n)]


def test_all_wrong_arguments_are_told_at_once() -> None:
    with pytest.raises(DefinitionError) as caught:
        Bayesian(acquisition="UBC", beta=-1, radius=0, initial_trials=0)
    assert caught.value.problems == (
        "unknown acquisition 'UBC'; did you mean UCB?",
        "beta has to be a number of at least 0, got -1",
        "radius has to be above 0 and at most 1, got 0",
        "initial_trials has to be a whole number of at least 1, got 0",
    )


def test_without_scikit_learn_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(bayesian, "find_spec", lambda name: None if name == "sklearn" else find(name))
    with pytest.raises(DefinitionError, match=r'needs scikit-learn: pip install "metta-sweep\[gp\]"'):
        BayesianOptimizer(PLANE)


@pytest.mark.parametrize("goal", ["minimize", "maximize"])
@pytest.mark.parametrize("acquisition", ["EI", "UCB", "ei"])
def test_it_goes_where_more_is_expected(goal: Goal, acquisition: str) -> None:
    [params] = suggested(told(Bayesian(acquisition=acquisition), 20, goal), 1)
    assert bowl(params) < 0.05


@pytest.mark.parametrize("goal", ["minimize", "maximize"])
def test_what_it_expects_of_the_best_point_is_near_the_truth(goal: Goal) -> None:
    expected = told(BayesianOptimizer(), 25, goal).expected()
    height = bowl(expected.params)
    assert height < 0.01
    assert abs(expected.mean - (height if goal == "minimize" else -height)) < 0.02
    assert 0 < expected.deviation < 0.1


def test_it_expects_nothing_before_the_first_result() -> None:
    optimizer = BayesianOptimizer(PLANE)
    optimizer.suggest(3)
    with pytest.raises(DefinitionError, match="no trial with a result was observed"):
        optimizer.expected()


def test_trials_under_way_keep_others_away() -> None:
    first, second = suggested(told(BayesianOptimizer(acquisition="UCB", beta=5), 20), 2)
    assert max(abs(first[name] - second[name]) for name in PLANE) > 0.02


def test_a_high_beta_explores_more() -> None:
    """Of the corners nothing is known; the bowl's bottom is known well."""
    [near] = suggested(told(BayesianOptimizer(acquisition="UCB", beta=0), 25), 1)
    [far] = suggested(told(BayesianOptimizer(acquisition="UCB", beta=100), 25), 1)
    assert bowl(near) < 0.01 < bowl(far)


@pytest.mark.parametrize("kind", ["user", "infeasible", "timeout", "oom"])
def test_it_keeps_away_from_where_trials_fail(kind: Any) -> None:
    optimizer = BayesianOptimizer(acquisition="UCB", beta=1)
    optimizer.setup(PLANE, (Objective("height", "minimize"),), 7)
    for number in range(30):
        params = PLANE.sample(optimizer.rng(number, "a point"))
        fails = float(str(params["x"])) < 0.5  # the bottom of the bowl is in there
        result: Result = Failure(kind=kind, message="it broke") if fails else bowl(params)
        optimizer.observe(Trial(params, number), result)
    optimizer.next_number = 30
    assert all(params["x"] > 0.4 for params in suggested(optimizer, 3))


def test_a_failure_that_tells_nothing_is_forgotten() -> None:
    one, other = told(BayesianOptimizer(), 20), told(BayesianOptimizer(), 20)
    [trial] = one.suggest(1)
    one.observe(trial, Failure(kind="infra", message="the machine was switched off"))
    one.next_number = other.next_number = 5
    assert suggested(one, 1) == suggested(other, 1)


def test_it_stays_around_a_point_and_leaves_its_choices() -> None:
    space = SearchSpace(
        {
            "lr": LogUniform(1e-4, 1.0),
            "layers": Integer(1, 10),
            "model": Choice(["cnn", "mlp"]),
            "mlp.width": Integer(16, 64),
        }
    )
    centre: dict[str, Any] = {"lr": 0.01, "layers": 4, "model": "mlp", "mlp.width": 20}
    optimizer = BayesianOptimizer(space, around=centre, radius=0.1, seed=3)
    for _ in range(14):
        [trial] = optimizer.suggest(1)
        assert 0.01 / 2.6 < trial.params["lr"] < 0.01 * 2.6  # a tenth of four orders of magnitude
        assert trial.params["layers"] in (3, 4, 5)
        assert trial.params["model"] == "mlp"
        assert 16 <= trial.params["mlp.width"] <= 26
        optimizer.observe(trial, {"loss": trial.params["lr"]})


def test_it_leaves_its_choices_where_others_were_better() -> None:
    space = SearchSpace({"x": Uniform(0, 1), "kind": Choice(["p", "q"])})
    optimizer = BayesianOptimizer(space, around={"x": 0.5, "kind": "p"}, radius=0.1, seed=3)
    for number in range(-12, 0):
        kind = "q" if number % 2 else "p"
        told = Trial({"x": 0.4 + 0.02 * (number % 10), "kind": kind}, number)
        optimizer.observe(told, {"loss": 0.0 if kind == "q" else 1.0})
    for trial in optimizer.suggest(6):
        assert trial.params["kind"] == "p"
        assert 0.4 <= trial.params["x"] <= 0.6
    assert optimizer.expected()[0]["kind"] == "p"


def test_the_point_has_to_be_one_of_the_space() -> None:
    with pytest.raises(SpaceError, match="z is unknown"):
        BayesianOptimizer(PLANE, around={"x": 0.5, "y": 0.5, "z": 1}).suggest(1)


def test_nothing_is_tried_twice_before_everything_was_tried() -> None:
    space = SearchSpace({"n": Integer(1, 4), "model": Choice(["cnn", "mlp", "linear"])})
    optimizer = BayesianOptimizer(space, seed=1, initial_trials=3)
    tried = []
    for _ in range(14):
        [trial] = optimizer.suggest(1)
        tried.append((trial.params["n"], trial.params["model"]))
        optimizer.observe(trial, {"loss": trial.params["n"]})
    assert len({*tried[:12]}) == 12


def test_many_observations_are_thinned_out() -> None:
    optimizer = told(BayesianOptimizer(), 2 * bayesian.MOST)
    [params] = suggested(optimizer, 1)
    assert bowl(params) < 0.05


def test_one_wild_result_does_not_hide_the_others() -> None:
    optimizer = told(BayesianOptimizer(), 25)
    optimizer.observe(Trial({"x": 0.9, "y": 0.1}, 0), 1e300)
    assert bowl(optimizer.expected().params) < 0.05
