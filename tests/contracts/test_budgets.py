"""Budgets: how people write them, how they change, and what is said of mistakes."""

import math
from typing import Any

import pytest

from metta.sweep.contracts.budgets import Budget, Control, Spent, budget_from, check_goes_on
from metta.sweep.contracts.errors import DefinitionError


@pytest.mark.parametrize(
    ("written", "budget"),
    [
        (20, Budget(trials=20)),
        (20.0, Budget(trials=20)),
        ({"trials": 20}, Budget(trials=20)),
        ({"hours": 2, "target": -0.5}, Budget(hours=2, target=-0.5)),
        ({"trials": None}, Budget(trials=None)),
        ({}, Budget()),
    ],
)
def test_a_number_means_trials_and_names_mean_limits(written: Any, budget: Budget) -> None:
    read = budget_from(written)
    assert read == budget
    assert read.model_fields_set == budget.model_fields_set


HOW = 'write a number of trials, or limits such as {"hours": 2}'


@pytest.mark.parametrize(
    ("written", "problems"),
    [
        (0, ["trials: input should be greater than or equal to 1, got 0"]),
        (-5, ["trials: input should be greater than or equal to 1, got -5"]),
        (2.5, ["trials: input should be a valid integer, got a number with a fractional part, got 2.5"]),
        (True, [f"{HOW}, got True"]),
        ("20", [f"{HOW}, got '20'"]),
        (None, [f"{HOW}, got None"]),
        ([20], [f"{HOW}, got [20]"]),
        (
            {"trails": 3, "hours": 0, "seconds": -1, "target": "high"},
            [
                "hours: input should be greater than 0, got 0",
                "seconds: input should be greater than 0, got -1",
                "target: input should be a valid number, unable to parse string as a number, got 'high'",
                "trails is unknown; did you mean trials?",
            ],
        ),
        ({"target": math.nan}, ["target: input should be a finite number, got nan"]),
    ],
)
def test_all_mistakes_are_told_at_once(written: Any, problems: list[str]) -> None:
    with pytest.raises(DefinitionError) as error:
        budget_from(written)
    assert error.value.problems == tuple(problems)
    assert error.value.subject == "the budget"


def test_the_constructor_is_as_strict() -> None:
    wrong: dict[str, Any] = {"trails": 3, "hours": -1}
    with pytest.raises(DefinitionError) as error:
        Budget(**wrong)
    assert error.value.problems == (
        "trails is unknown; did you mean trials?",
        "hours: input should be greater than 0, got -1",
    )


def test_the_constructor_asks_for_names() -> None:
    with pytest.raises(DefinitionError, match=r"Budget: give its values by name: Budget\(trials=20\)"):
        Budget(*[20])


@pytest.mark.parametrize(
    ("budget", "time_s"),
    [
        (Budget(trials=3), None),
        (Budget(hours=1.5), 5400.0),
        (Budget(seconds=90), 90.0),
        (Budget(hours=1, seconds=90), 3690.0),
    ],
)
def test_hours_and_seconds_add_up(budget: Budget, time_s: float | None) -> None:
    assert budget.time_s == time_s


def test_a_change_touches_only_what_it_gives() -> None:
    budget = Budget(trials=20, hours=1, target=0.9)
    assert budget.changed(Budget(trials=40)) == Budget(trials=40, hours=1, target=0.9)
    assert budget.changed(Budget(trials=None, seconds=30)) == Budget(hours=1, seconds=30, target=0.9)
    assert budget.changed(Budget()) == budget


def test_a_control_of_a_newer_worker_is_read() -> None:
    newer = {"run": "r", "version": 3, "mood": True, "budget": {"trials": 2, "joules": 5}}
    assert Control.model_validate(newer) == Control(run="r", version=3, budget=Budget(trials=2))


def test_what_goes_on_may_have_spent_all_of_a_limit_and_no_more() -> None:
    spent = Spent(trials=5, epochs=30, cost=2.5)
    check_goes_on(Budget(trials=5, epochs=31), Budget(trials=4), spent, "digits")
    with pytest.raises(DefinitionError) as caught:
        check_goes_on(Budget(trials=4, epochs=31, cost=2.0), Budget(trials=5), spent, "digits")
    way_out = "or leave it out to keep the one that it had"
    assert caught.value.subject == "the budget of digits"
    assert list(caught.value.problems) == [
        f"trials: 5 are spent, got 4; give more than that, {way_out}",
        f"cost: 2.5 are spent, got 2; give more than that, {way_out}",
    ]


def test_what_goes_on_with_the_limit_that_it_had_may_have_spent_more() -> None:
    before = Budget(trials=5, cost=2.0)
    spent = Spent(trials=5, cost=2.5)
    check_goes_on(before, before, spent, "digits")
    check_goes_on(before.changed(Budget(trials=9)), before, spent, "digits")
