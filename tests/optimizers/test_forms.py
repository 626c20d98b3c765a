"""Optimizers are made again from JSON, and suggest what they would have suggested."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from math import inf, nan
from typing import Any

import pytest
from pydantic import ValidationError

from metta.sweep import DefinitionError, Resources, Trial, Uniform
from metta.sweep.contracts.failures import Failure
from metta.sweep.contracts.trials import Result
from metta.sweep.optimizers import Optimizer, OptunaOptimizer, RandomOptimizer
from metta.sweep.optimizers.by_hand import form_of_trial, trial_of_form
from metta.sweep.optimizers.turns import Turns
from tests.optimizers.kept import FIELD, NAMES, Failing, Halving, asked, lived, made
from tests.optimizers.lives import SPACES

each = pytest.mark.parametrize("name", NAMES)


def again(optimizer: Optimizer) -> Optimizer:
    return FIELD.validate_json(FIELD.dump_json(optimizer))


def asked_elsewhere(form: bytes, hash_seed: int) -> list[dict[str, Any]]:
    """What one that another process makes of a form suggests next."""
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    command = [sys.executable, "-m", "tests.optimizers.kept"]
    done = subprocess.run(command, input=form, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return list(json.loads(done.stdout))


@each
def test_it_goes_on_in_a_new_process_with_another_hash_seed(name: str) -> None:
    optimizer = made(name)
    lived(optimizer, 7)
    form = FIELD.dump_json(optimizer)
    assert asked_elsewhere(form, 1) == asked_elsewhere(form, 2) == asked(optimizer)


@each
def test_it_is_made_again_as_often_as_one_likes(name: str) -> None:
    undisturbed, moving = made(name), made(name)
    for turns in ((0, 3), (3, 7)):
        lived(undisturbed, *turns)
        lived(moving := again(again(moving)), *turns)
    assert FIELD.dump_python(again(moving)) == FIELD.dump_python(moving)
    assert moving == again(moving)
    assert moving.next_number == again(moving).next_number == undisturbed.next_number
    assert asked(again(moving)) == asked(undisturbed)


@each
def test_it_grows_by_what_it_was_told(name: str) -> None:
    optimizer = made(name)
    lived(optimizer, 5)
    before = len(FIELD.dump_json(optimizer))
    lived(optimizer, 5, 15)
    assert len(FIELD.dump_json(optimizer)) - before < 10 * 700


def test_one_that_needs_observations_alone_forgets_what_it_was_asked() -> None:
    optimizer = RandomOptimizer(SPACES["flat"], seed=1)
    for trial in optimizer.suggest(50)[:-1]:
        optimizer.observe(trial, 0.5)
    calls = FIELD.dump_python(optimizer)["calls"]
    assert [next(iter(call)) for call in calls] == ["observe"] * 49 + ["remember"]
    assert again(optimizer).next_number == 50


def test_results_of_all_kinds_come_back_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Result] = []

    class Listening(Halving):
        def observe(self, trial: Trial, result: Result) -> None:
            told.append(result)

    results: list[Result] = [0.5, 3, nan, inf, -inf, {"a": 1.5, "b": -inf}, Failure(kind="oom", message="no")]
    optimizer = Listening()
    for number, result in enumerate(results):
        optimizer.observe(Trial({"x": 0.5}, number, ended_at=number or None), result)
    form = FIELD.dump_python(optimizer, mode="json")
    told.clear()
    form["type"] = f"{__name__}:Here"
    monkeypatch.setitem(globals(), "Here", Listening)
    FIELD.validate_json(json.dumps(form, allow_nan=False))
    assert list(map(str, told)) == list(map(str, results))


def test_what_it_was_told_of_a_trial_comes_back() -> None:
    trial = Trial({"x": 0.5}, -4, seed=9, ended_at=3, resources=Resources(cpu=4))
    optimizer = Halving()
    optimizer.observe(trial, 0.5)
    [found] = again(optimizer).told_by_hand
    assert {**vars(found.trial), "reports": []} == vars(trial)
    assert found.result == 0.5


def test_equal_ones_have_the_same_class_arguments_and_calls() -> None:
    one, other = made("random"), made("random")
    assert one == other
    assert hash(one) == hash(other)
    assert one != RandomOptimizer(SPACES["flat"])
    assert one != OptunaOptimizer()
    one.suggest(1)
    assert one != other
    other.suggest(1)
    assert one == other


def test_what_was_refused_is_not_repeated() -> None:
    optimizer = Failing()
    with pytest.raises(ValueError, match="what is that"):
        optimizer.observe(Trial({"x": 0.5}), Failure(kind="user", message=""))
    assert "calls" not in FIELD.dump_python(again(optimizer))


@dataclass(frozen=True)
class Frozen(Optimizer):
    size: int = 3

    def suggest(self, n: int) -> list[Trial]:
        return [Trial({"x": self.size})]

    def observe(self, trial: Trial, result: Result) -> None:
        """Nothing is learnt."""


def test_one_that_cannot_be_assigned_to_is_made_again_too() -> None:
    optimizer = Frozen(5)
    optimizer.suggest(2)
    assert again(optimizer).suggest(1)[0].params == {"x": 5}


class Uncounting(Optimizer):
    """Numbers its trials by what comes next, and leaves counting to whoever asks."""

    def __init__(self) -> None:
        self.pending: dict[int, float] = {}

    def suggest(self, n: int) -> list[Trial]:
        trials = [
            Trial({"x": self.rng(self.next_number + k).random()}, self.next_number + k) for k in range(n)
        ]
        self.pending.update({trial.number: trial.params["x"] for trial in trials})
        return trials

    def observe(self, trial: Trial, result: object) -> None:
        del self.pending[trial.number]


def test_one_that_does_not_count_is_made_again_as_it_was() -> None:
    optimizer: Optimizer = Uncounting()
    turns = Turns(optimizer)
    for _ in range(3):
        turns.suggested()
        turns.observed("loss", 1.0)
    turns.suggested()
    made_again = again(optimizer)
    assert vars(made_again)["pending"] == vars(optimizer)["pending"]
    assert made_again.next_number == 4


def test_a_trial_that_ended_at_its_beginning_comes_back_as_such() -> None:
    assert trial_of_form(form_of_trial(Trial({"x": 1}, 0, ended_at=0))).ended_at == 0


def test_a_sampler_object_is_kept_as_it_was_given() -> None:
    optimizer = made("cmaes")
    before = optimizer.spec()
    lived(optimizer, 5)
    assert optimizer.spec() == before


def strange() -> Optimizer:
    optimizer = Halving()
    optimizer.observe(Trial({"x": object()}), 0.5)  # type: ignore[dict-item]  # the mistake
    return optimizer


def searching() -> Optimizer:
    optimizer = RandomOptimizer()
    optimizer.setup(SPACES["flat"], (), seed=1)
    return optimizer


def inner() -> Optimizer:
    class Inner(Halving):
        """Cannot be found."""

    optimizer = Inner()
    optimizer.suggest(1)
    return optimizer


WRONG = [
    (5, 'give an optimizer, its name, or an object such as {"type": "random"'),
    ("randm", "unknown optimizer 'randm'; did you mean random?"),
    (RandomOptimizer, r"RandomOptimizer is a class; call it: RandomOptimizer\(\)"),
    ({"type": "random", "sed": 1}, "sed is unknown; did you mean seed?"),
    ({"type": "random", "options": {}, "call": []}, "call is unknown; did you mean calls?"),
    (
        {"type": "random", "options": {}, "calls": [{"tell": 1}]},
        "a call is one of suggest, observe, remember and goal",
    ),
    (
        {"type": "random", "options": {}, "calls": [{"observe": 1}]},
        "random cannot be brought to where it was",
    ),
    ({"type": "pathlib:Path"}, "pathlib:Path is not a subclass of Optimizer"),
    ({"type": "nowhere:Path"}, "nowhere:Path cannot be imported"),
    (RandomOptimizer(seed=object()), "seed has to be plain JSON"),  # type: ignore[arg-type]
    (strange(), "its call 0, of observe, is no plain JSON: Object of type object"),
    (searching(), r"setup\(\) was called, and what it was asked and told since is noted nowhere"),
]


@pytest.mark.parametrize(("value", "problem"), WRONG)
def test_what_is_none_or_cannot_be_made_again_is_refused(value: object, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        FIELD.validate_python(value)


def test_one_whose_class_nobody_finds_is_not_made_again() -> None:
    form = FIELD.dump_python(inner())
    with pytest.raises(ValidationError, match="names nothing that can be imported"):
        FIELD.validate_python(form)


def test_one_that_fails_when_it_is_repeated_says_so() -> None:
    optimizer = Failing()
    optimizer.observe(Trial({"x": 0.5}), {"loss": 0.5})
    form = FIELD.dump_python(optimizer)
    form["calls"][0] |= {"failure": {"kind": "user", "message": ""}}
    with pytest.raises(ValidationError, match=r"brought to where it was: ValueError: what is that"):
        FIELD.validate_python(form)


def test_what_it_has_learnt_costs_little_time_to_note() -> None:
    optimizer = RandomOptimizer({"x": Uniform(0, 1)}, seed=1)
    for trial in optimizer.suggest(2000):
        optimizer.observe(trial, 0.5)
    assert again(optimizer).told_by_hand[-1].trial.number == 1999
    with pytest.raises(DefinitionError, match="trial 3 was observed before"):
        again(optimizer).observe(Trial({"x": 0.5}, 3), 0.5)
