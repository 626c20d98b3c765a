"""What holds for every optimizer: each one that is registered is tested here."""

import json
import os
import subprocess
import sys
from copy import deepcopy
from fractions import Fraction
from typing import Any

import pytest

from metta.sweep.contracts.components import ComponentSpec, create, load
from metta.sweep.contracts.distributions import Integer, Uniform
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.metrics import Objective
from metta.sweep.contracts.spaces import SearchSpace
from metta.sweep.contracts.trials import Trial
from metta.sweep.optimizers.base import Optimizer
from metta.sweep.optimizers.registry import OPTIMIZERS
from tests.optimizers.lives import RESULTS, SPACES, Ask, Told, born, lived, suggestions

NATIVE = (bool, int, float, str, list, dict, type(None))

each = pytest.mark.parametrize("name", sorted(OPTIMIZERS))
everywhere = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


def natives(value: Any) -> bool:
    """Whether a value is made of nothing but what JSON has."""
    if isinstance(value, dict):
        return type(value) is dict and all(map(natives, [*value, *value.values()]))
    return type(value) in NATIVE and (type(value) is not list or all(map(natives, value)))


@each
def test_its_class_is_where_the_registry_says(name: str) -> None:
    kind = load(OPTIMIZERS[name])
    assert issubclass(kind, Optimizer)
    assert kind().spec() == ComponentSpec(type=name)


@each
@everywhere
def test_suggestions_are_in_the_space(name: str, space: SearchSpace) -> None:
    found = suggestions(born(name, space))
    assert found
    for params in found:
        space.validate(params)


@each
@everywhere
def test_suggestions_are_native_values_that_survive_json(name: str, space: SearchSpace) -> None:
    for params in suggestions(born(name, space)):
        assert natives(params)
        assert json.loads(json.dumps(params)) == params


@each
def test_suggestions_are_exactly_on_their_steps(name: str) -> None:
    space = SPACES["stepped"]
    for params in suggestions(born(name, space)):
        for key, value in params.items():
            distribution = space[key]
            assert isinstance(distribution, Uniform | Integer)
            low, step = (Fraction(str(number)) for number in (distribution.low, distribution.step))
            assert (Fraction(str(value)) - low) % step == 0


@each
def test_a_space_of_one_point_gives_that_point(name: str) -> None:
    [trial] = born(name, SPACES["one point"]).suggest(1)
    assert trial.params == {"a": 0.3, "b": 7, "c": "x", "d": None}


@each
@everywhere
def test_never_more_is_suggested_than_was_asked_for(name: str, space: SearchSpace) -> None:
    optimizer = born(name, space)
    assert optimizer.suggest(0) == []
    assert all(len(event.trials) <= event.n for event in lived(optimizer) if isinstance(event, Ask))


@each
@everywhere
def test_it_does_not_change_what_it_is_given(name: str, space: SearchSpace) -> None:
    before = space.to_json()
    given: list[tuple[Told, Told]] = []
    for event in lived(born(name, space)):
        if isinstance(event, Told):
            given.append((event, deepcopy(event)))
    assert space.to_json() == before
    assert [told.result for told, _ in given] == [told.result for _, told in given]
    assert [told.trial.params for told, _ in given] == [told.trial.params for _, told in given]


@each
def test_a_trial_that_changes_its_parameters_changes_no_others(name: str) -> None:
    untouched = suggestions(born(name, SPACES["flat"]))
    spoilt = []
    for event in lived(born(name, SPACES["flat"])):
        if isinstance(event, Ask):
            spoilt += [deepcopy(trial.params) for trial in event.trials]
            for trial in event.trials:
                shape = trial.params["shape"]
                (shape if isinstance(shape, list) else shape["a"]).append(0)
                trial.params["optimizer"]["name"] = "sgd"
    assert spoilt == untouched


@each
@everywhere
def test_an_equal_seed_gives_equal_suggestions_in_a_new_process(name: str, space: SearchSpace) -> None:
    chosen = next(key for key, known in SPACES.items() if known is space)
    here = suggestions(born(name, space))
    environment = os.environ | {"PYTHONHASHSEED": "12345", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "tests.optimizers.lives", name, chosen, "7"]
    assert json.loads(subprocess.check_output(command, env=environment)) == here


@each
@pytest.mark.parametrize("other", [8, "a sweep without a seed"])
def test_another_seed_gives_other_suggestions(name: str, other: int | str) -> None:
    assert suggestions(born(name, SPACES["flat"], 7)) != suggestions(born(name, SPACES["flat"], other))


@each
@everywhere
def test_a_new_object_that_repeats_a_life_goes_on_like_the_old_one(name: str, space: SearchSpace) -> None:
    old, new = born(name, space), born(name, space)
    number = 0
    for event in lived(old):
        if isinstance(event, Told):
            new.observe(event.trial, event.result)
            continue
        new.next_number = number
        repeated = [trial.params for trial in new.suggest(event.n)]
        assert repeated == [trial.params for trial in event.trials]
        number += len(event.trials)
    assert_alike(old, new)


@each
@everywhere
def test_one_that_begins_with_earlier_trials_goes_on_like_another_one(name: str, space: SearchSpace) -> None:
    old, new = warm(name, space), warm(name, space)
    old.next_number = new.next_number = 1
    first = Trial(space.sample(old.rng(0, "a point")), 0)  # which it did not suggest
    for optimizer in (old, new):
        optimizer.remember(first)
    asked = [trial.params for trial in old.suggest(3)]
    if new.stateless:
        for number, params in enumerate(asked, 1):
            new.remember(Trial(params, number))
    else:
        assert [trial.params for trial in new.suggest(3)] == asked
    for optimizer in (old, new):
        optimizer.observe(first, 0.5)
    assert_alike(old, new)


@each
@everywhere
def test_one_that_is_stateless_goes_on_when_it_was_only_told(name: str, space: SearchSpace) -> None:
    old, new = born(name, space), born(name, space)
    if not old.stateless:
        pytest.skip(f"{name} is rebuilt by repeating what it was asked")
    for event in lived(old):
        if isinstance(event, Told):
            new.observe(event.trial, event.result)
        else:
            for trial in event.trials:
                new.remember(trial)
    assert_alike(old, new)


@each
def test_one_that_is_blind_to_results_can_be_asked_ahead(name: str) -> None:
    told, ahead = born(name, SPACES["flat"]), born(name, SPACES["flat"])
    if not told.result_blind:
        pytest.skip(f"{name} looks at results")
    one_by_one = suggestions(told)
    assert [trial.params for trial in ahead.suggest(len(one_by_one))] == one_by_one


@each
def test_it_takes_observations_of_trials_that_are_not_its_own(name: str) -> None:
    optimizer = born(name, SPACES["flat"])
    params = SPACES["flat"].sample(optimizer.rng(0, "elsewhere"))
    for number, result in [(0, 0.5), (10**6, 0.25), (0, 0.75)]:
        optimizer.observe(Trial(params, number), result)
    SPACES["flat"].validate(optimizer.suggest(1)[0].params)


@each
def test_it_works_by_hand_and_says_when_it_has_no_space(name: str) -> None:
    kind = load(OPTIMIZERS[name])
    trials = kind({"x": Uniform(0, 1)}, seed=3).suggest(10)
    assert [trial.number for trial in trials] == list(range(len(trials)))
    with pytest.raises(DefinitionError, match=f"{kind.__name__}: search_space is missing"):
        kind().suggest(1)


@each
def test_its_own_seed_comes_before_that_of_the_sweep(name: str) -> None:
    def with_seeds(own: int | None, sweep: int) -> list[dict[str, Any]]:
        optimizer = create(Optimizer, ComponentSpec(type=name, options={} if own is None else {"seed": own}))
        optimizer.setup(SPACES["flat"], (Objective("accuracy", "maximize"),), sweep)
        return suggestions(optimizer)

    assert with_seeds(own=1, sweep=2) == with_seeds(own=1, sweep=3) == with_seeds(own=None, sweep=1)
    assert with_seeds(own=0, sweep=1) != with_seeds(own=None, sweep=1)


def warm(name: str, space: SearchSpace) -> Optimizer:
    """One that was told of trials of an earlier sweep."""
    optimizer = born(name, space)
    for number in range(-12, 0):
        params = space.sample(optimizer.rng(number, "earlier"))
        ended_at = 3 if number % 4 == 0 else None
        optimizer.observe(Trial(params, number, ended_at=ended_at), RESULTS[number % len(RESULTS)])
    return optimizer


def assert_alike(one: Optimizer, other: Optimizer) -> None:
    """They suggest the same from here on."""
    one.next_number = other.next_number = 100
    assert [trial.params for trial in one.suggest(3)] == [trial.params for trial in other.suggest(3)]
