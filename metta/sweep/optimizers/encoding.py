"""Encodings: parameters as points of a cube, for models that know nothing but distances."""

from collections.abc import Mapping
from random import Random

from pydantic import JsonValue

from metta.sweep.contracts.distributions import Choice, Constant
from metta.sweep.contracts.spaces import SearchSpace

CENTRE = 0.5

Point = dict[str, float]
"""A number of the unit interval for each parameter, active or not."""


class Encoding:
    """Parameters of a space as rows of features in [0, 1].

    A number and an ordinal value are one feature: the share of values below it. A choice has a feature for
    each of its values, 1 for the one that is taken: so all of them are equally far from each other. What is
    inactive lies in the centre, or takes no value.

    Args:
        space: The space.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._varied = {n: d for n, d in space.items() if not isinstance(d, Constant) and d.size != 1}

    def row(self, params: Mapping[str, JsonValue]) -> list[float]:
        """The features of parameters; a single one where nothing varies."""
        features: list[float] = []
        for name, distribution in self._varied.items():
            u = distribution.to_unit(params[name]) if name in params else None
            if isinstance(distribution, Choice):
                taken = -1 if u is None else int(u * len(distribution.values))
                features += [float(cell == taken) for cell in range(len(distribution.values))]
            else:
                features.append(CENTRE if u is None else u)
        return features or [CENTRE]

    def point(self, params: Mapping[str, JsonValue]) -> Point:
        """Where parameters lie in the unit cube; inactive ones in its centre."""
        return {n: d.to_unit(params[n]) if n in params else CENTRE for n, d in self._space.items()}


class Region:
    """A part of the unit cube: all of it, or what lies around a point.

    Args:
        space: The space that the cube stands for.
        centre: The point; None takes all of the cube.
        radius: How far the region reaches from it in each coordinate; choices stay as they are.
    """

    def __init__(self, space: SearchSpace, centre: Point | None = None, radius: float = 1.0) -> None:
        self._bounds = dict.fromkeys(space, (0.0, 1.0))
        self._choices = {name for name, d in space.items() if isinstance(d, Choice)}
        for name, u in (centre or {}).items():
            self._bounds[name] = (max(0.0, u - radius), min(1.0, u + radius))
            if name in self._choices:
                self._bounds[name] = (u, u)

    def within(self, shares: Mapping[str, float]) -> Point:
        """The point of the region at these shares of its width."""
        return {n: low + shares[n] * (high - low) for n, (low, high) in self._bounds.items()}

    def drawn(self, rng: Random) -> Point:
        """A point, all equally likely."""
        return self.within({name: rng.random() for name in self._bounds})

    def near(self, point: Point, sigma: float, rng: Random) -> Point:
        """A point near another one: some coordinates move by about ``sigma``, and seldom a choice changes."""
        moved: Point = {}
        for name, (low, high) in self._bounds.items():
            if name in self._choices:
                drawn = low + rng.random() * (high - low) if rng.random() < sigma else point[name]
                moved[name] = drawn if low <= drawn <= high else low
            else:
                step = rng.gauss(0.0, sigma) if rng.random() < MOVED else 0.0
                moved[name] = min(max(point[name] + step, low), high)
        return moved

    def holds(self, point: Point) -> bool:
        """Whether a point lies in it."""
        return all(low <= point[name] <= high for name, (low, high) in self._bounds.items())


MOVED = 0.7
"""Share of the coordinates that move."""
