"""Wording: values as people read them."""

import pytest

from metta.sweep.contracts.budgets import Budget
from metta.sweep.contracts.wording import budget_text, duration_text, value_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, "0.1"),
        (1e-10, "1e-10"),
        (123456.0, "1.235e+05"),
        (3, "3"),
        ("cnn", "cnn"),
        ([1], "[1]"),
        (None, "None"),
    ],
)
def test_floats_have_four_digits_and_the_rest_is_as_it_is(value: object, text: str) -> None:
    assert value_text(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (119.7, "2 min 0 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 0 min"),
        (360_000, "100 h 0 min"),
    ],
)
def test_a_time_is_rounded_before_it_is_split(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_a_budget_lists_its_limits() -> None:
    assert budget_text(Budget(trials=20, hours=0.5, target=0.9)) == "trials=20, hours=0.5, target=0.9"
    assert budget_text(Budget(trials=None)) == "none; it runs until it is stopped"
