"""Metrics: what trials return, which of them counts, and in which direction."""

from collections.abc import Collection, Mapping
from typing import Any, Literal, NamedTuple, Self, TypeAlias

from metta.sweep.contracts.reports import finite, finite_number

Goal: TypeAlias = Literal["maximize", "minimize"]

BARE = "value"
"""Name of the metric of a trial that returns a bare number."""

COSTS = frozenset(["loss", "error", "latency", "regret", "cost", "time", "mse", "rmse", "mae", "perplexity"])
"""Names that read as costs, alone or after an underscore."""


def inferred_goal(metric: str) -> Goal:
    """The direction a metric's name suggests.

    >>> inferred_goal("val_loss"), inferred_goal("accuracy"), inferred_goal("times")
    ('minimize', 'maximize', 'maximize')
    """
    return "minimize" if metric.rsplit("_", 1)[-1].lower() in COSTS else "maximize"


class Objective(NamedTuple):
    """The metric that counts, and its direction."""

    metric: str
    goal: Goal

    def reached(self, value: float, target: float) -> bool:
        """Whether a value is as good as a target."""
        return value >= target if self.goal == "maximize" else value <= target

    @classmethod
    def resolve(cls, metric: str | None, goal: Goal | None, metrics: Collection[str]) -> Self | None:
        """The objective, as far as it can be known.

        Args:
            metric: What the definition says; None takes the only metric of a trial.
            goal: What the definition says; None goes by the metric's name.
            metrics: Names of a trial's metrics; empty before there is one.

        Returns:
            None when the metric is still unknown, or there are several to choose from, or a bare
            number comes without a goal.
        """
        name = metric or (next(iter(metrics)) if len(metrics) == 1 else None)
        if name is None or (name == BARE and metric is None and goal is None):
            return None
        return cls(name, goal or inferred_goal(name))


def metrics_from(returned: Any) -> dict[str, float] | None:
    """What an objective returned, as named finite numbers.

    Args:
        returned: A number, a dict of numbers, or None (its reports are the result).

    Returns:
        The metrics, or None when nothing was returned.

    Raises:
        BadMetric: When it is something else, or a number is NaN or infinite.
    """
    if returned is None:
        return None
    if isinstance(returned, Mapping):
        return finite(returned)
    return {BARE: finite_number("the returned value", returned)}
