"""Metrics: what trials may return, and which of them counts."""

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from metta.sweep.contracts.errors import BadMetric
from metta.sweep.contracts.metrics import COSTS, Goal, Objective, inferred_goal, metrics_from
from metta.sweep.contracts.reports import finite


class Scalar:
    """What numpy's scalars and torch's tensors have in common."""

    def __init__(self, value: object) -> None:
        self._value = value

    def tolist(self) -> object:
        return self._value


@pytest.mark.parametrize("name", sorted(COSTS))
def test_costs_are_minimized_alone_and_after_an_underscore(name: str) -> None:
    assert inferred_goal(name) == inferred_goal(f"val_{name}") == inferred_goal(name.upper()) == "minimize"


@pytest.mark.parametrize("name", ["accuracy", "losses", "lossless", "runtime", "loss_ratio", "cost_of", ""])
def test_other_names_are_maximized(name: str) -> None:
    assert inferred_goal(name) == "maximize"


@pytest.mark.parametrize(
    ("metric", "goal", "metrics", "expected"),
    [
        (None, None, [], None),
        (None, None, ["loss"], Objective("loss", "minimize")),
        (None, "maximize", ["loss"], Objective("loss", "maximize")),
        (None, None, ["loss", "accuracy"], None),
        (None, None, ["value"], None),
        (None, "minimize", ["value"], Objective("value", "minimize")),
        ("value", None, ["value"], Objective("value", "maximize")),
        ("accuracy", None, [], Objective("accuracy", "maximize")),
        ("accuracy", "minimize", ["loss", "accuracy"], Objective("accuracy", "minimize")),
    ],
)
def test_the_objective_is_known_once_a_metric_is(
    metric: str | None, goal: Goal | None, metrics: list[str], expected: Objective | None
) -> None:
    assert Objective.resolve(metric, goal, metrics) == expected


@pytest.mark.parametrize(("goal", "better", "worse"), [("maximize", 0.9, 0.7), ("minimize", 0.7, 0.9)])
def test_a_target_is_reached_by_itself_and_by_better_values(goal: Goal, better: float, worse: float) -> None:
    objective = Objective("score", goal)
    assert objective.reached(better, 0.8)
    assert objective.reached(0.8, 0.8)
    assert not objective.reached(worse, 0.8)


@pytest.mark.parametrize(
    ("returned", "metrics"),
    [
        (None, None),
        (3, {"value": 3.0}),
        (0.5, {"value": 0.5}),
        (Scalar(0.5), {"value": 0.5}),
        ({"loss": 1, "accuracy": Scalar(0.5)}, {"loss": 1.0, "accuracy": 0.5}),
        ({1: 2}, {"1": 2.0}),
    ],
)
def test_metrics_become_native_floats(returned: object, metrics: Mapping[str, float] | None) -> None:
    found = metrics_from(returned)
    assert found == metrics
    assert all(type(value) is float for value in (found or {}).values())


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("good", "the returned value is 'good' (str); return a number or a dict of numbers"),
        (True, "the returned value is True (bool); return a number or a dict of numbers"),
        ([0.1, 0.2], "the returned value is [0.1, 0.2] (list); return a number or a dict of numbers"),
        (Decimal(1), "the returned value is Decimal('1') (Decimal); return a number or a dict of numbers"),
        (math.nan, "the returned value is nan; a metric has to be finite"),
        ({"loss": -math.inf}, "metric 'loss' is -inf; a metric has to be finite"),
        ({"loss": None}, "metric 'loss' is None (NoneType); return a number or a dict of numbers"),
        ({"loss": {"a": 1}}, "metric 'loss' is {'a': 1} (dict); return a number or a dict of numbers"),
        ({}, "there is no metric; give at least one number by name"),
    ],
)
def test_what_is_no_finite_number_is_refused(returned: Any, message: str) -> None:
    with pytest.raises(BadMetric) as error:
        metrics_from(returned)
    assert str(error.value) == message


def test_a_number_too_large_for_a_float_is_refused_and_shown_in_short() -> None:
    with pytest.raises(BadMetric, match=r"metric 'n' is 1000+\.\.\.; a metric has to be finite"):
        finite({"n": 10**400})
