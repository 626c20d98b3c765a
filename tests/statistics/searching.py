"""Searches of test functions, by whatever can be asked and told."""

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from metta.sweep.contracts.distributions import Uniform
from metta.sweep.optimizers.base import Optimizer
from tests.statistics.surfaces import Point, Surface


class Asked(NamedTuple):
    """A trial under way: where it is, and how its result is told."""

    point: Point
    tell: Callable[[float], object]


Ask: TypeAlias = Callable[[], Asked]
Begin: TypeAlias = Callable[[Surface, int], Ask]
"""Begins a search of a surface with a seed."""


def asking(kind: type[Optimizer], **options: Any) -> Begin:
    """An optimizer of ours, used by hand."""

    def begin(surface: Surface, seed: int) -> Ask:
        space = {f"x{k}": Uniform(*bound) for k, bound in enumerate(surface.bounds)}
        optimizer = kind(space, seed=seed, **options)

        def ask() -> Asked:
            [trial] = optimizer.suggest(1)
            return Asked([*trial.params.values()], lambda loss: optimizer.observe(trial, {"loss": loss}))

        return ask

    return begin


def regret(ask: Ask, surface: Surface, evaluations: int, pending: int = 1) -> float:
    """Simple regret after all evaluations; so many at a time, told oldest first."""
    best = float("inf")
    under_way: deque[Asked] = deque()
    for evaluation in range(evaluations):
        under_way.append(ask())
        while len(under_way) == pending or (under_way and evaluation == evaluations - 1):
            point, tell = under_way.popleft()
            tell(surface.height(point))
            best = min(best, surface.regret(point))
    return best
