"""Points: rows of parameters that are to be tried, whatever becomes of them."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from math import prod
from typing import Any

from pydantic import JsonValue

from metta.sweep.contracts.distributions import Choice, Distribution
from metta.sweep.contracts.errors import nearest, shown
from metta.sweep.contracts.spaces import SearchSpace
from metta.sweep.experiments.ready.context import text_of

Axes = Mapping[str, Sequence[JsonValue]]
"""Values by parameter."""

MOST_POINTS = 2000
"""So many points at the most a grid may have: they travel with the definition of the sweep."""


def axes_of(space: SearchSpace, params: Any, points_per_dim: int) -> Any:
    """Values by parameter, where only names are given: all values of a choice, of others so many.

    Args:
        space: The space.
        params: Names, or what else was given.
        points_per_dim: So many values, evenly spread.
    """
    if not isinstance(params, list | tuple) or not all(name in space for name in params):
        return params
    return {name: _spread(space[name], points_per_dim) for name in params}


def _spread(distribution: Distribution, points: int) -> list[JsonValue]:
    size = distribution.size or points
    n = size if isinstance(distribution, Choice) else min(size, points)
    return [distribution.from_unit((k + 0.5) / n) for k in range(n)]


def grid_problems(space: SearchSpace, axes: object) -> Iterator[str]:
    """What is wrong with a grid, one sentence each.

    Args:
        space: The space that it is to lie in.
        axes: What was given for it.
    """
    if isinstance(axes, list | tuple) and axes:
        strange = [str(name) for name in axes if name not in space]
        yield from (f"params: {name} is unknown{nearest(name, list(space))}" for name in strange)
        return
    if not isinstance(axes, Mapping) or not axes:
        yield f'params has to be lists of values by name, such as {{"lr": [0.01, 0.1]}}, got {shown(axes)}'
        return
    yield from (problem for name, values in axes.items() for problem in _axis_problems(space, name, values))
    sizes = [len(values) for values in axes.values() if isinstance(values, list | tuple)]
    if (size := prod(sizes)) > MOST_POINTS:
        yield f"params make a grid of {size} points; {MOST_POINTS} are the most, so give fewer values"


def _axis_problems(space: SearchSpace, name: object, values: object) -> Iterator[str]:
    if name not in space:
        yield f"params: {name} is unknown{nearest(str(name), list(space))}"
    elif not isinstance(values, list | tuple) or not values:
        yield f"params: {name} has to be a list of values, got {shown(values)}"
    else:
        checks = (space[str(name)].check(value) for value in values)
        yield from (f"params: {name} {problem}" for problem in checks if problem)


def grid_points(space: SearchSpace, axes: Axes, best: Mapping[str, JsonValue]) -> list[dict[str, Any]]:
    """The points of a grid, the last parameter running fastest.

    Parameters that are not in it stay where they were best; before that at their ``center``, or else in the
    middle. Those that are inactive are left out, and what is the same then comes once.

    Args:
        space: The space that it lies in.
        axes: The values of the grid's parameters.
        best: The best parameters that are known.
    """
    points: dict[str, dict[str, Any]] = {}
    for values in product(*axes.values()):
        point = space.draw(partial(_value, space, dict(zip(axes, values, strict=True)), best))
        points.setdefault(text_of(point), point)
    return [*points.values()]


def _value(
    space: SearchSpace, fixed: Mapping[str, JsonValue], best: Mapping[str, JsonValue], name: str
) -> JsonValue:
    distribution = space[name]
    if name in fixed:
        return fixed[name]
    if name in best and distribution.check(best[name]) is None:
        return best[name]
    return distribution.from_unit(0.5) if distribution.center is None else distribution.center


def sobol_points(space: SearchSpace, n: int, seed: int) -> list[dict[str, Any]]:
    """The first points of a scrambled Sobol sequence, which fill the space evenly.

    Args:
        space: The space.
        n: How many.
        seed: Seed of the scrambling.
    """
    from scipy.stats.qmc import Sobol  # type: ignore[import-untyped]  # half a second, when it is needed

    rows = Sobol(len(space), rng=seed).random_base2((n - 1).bit_length())[:n]
    return [space.from_unit(dict(zip(space, map(float, row), strict=True))) for row in rows]
