"""Test functions of global optimization, whose optima are known.

References:
    Surjanovic and Bingham, "Virtual Library of Simulation Experiments: Test Functions and Datasets", 2013.
"""

from collections.abc import Callable, Sequence
from math import cos, exp, pi
from typing import NamedTuple, TypeAlias

Point: TypeAlias = Sequence[float]


class Surface(NamedTuple):
    """A function to be minimized.

    Args:
        height: The function.
        bounds: Low and high of each coordinate.
        optimum: Its smallest value within the bounds.
    """

    height: Callable[[Point], float]
    bounds: tuple[tuple[float, float], ...]
    optimum: float

    def regret(self, point: Point) -> float:
        """How far a point lies above the optimum."""
        return self.height(point) - self.optimum


def _branin(point: Point) -> float:
    x, y = point
    valley = y - 5.1 / (4 * pi**2) * x**2 + 5 / pi * x - 6
    return valley**2 + 10 * (1 - 1 / (8 * pi)) * cos(x) + 10


HARTMANN6 = (  # depth, widths and place of each of its pits
    (1.0, (10, 3, 17, 3.5, 1.7, 8), (0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886)),
    (1.2, (0.05, 10, 17, 0.1, 8, 14), (0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991)),
    (3.0, (3, 3.5, 1.7, 10, 17, 8), (0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650)),
    (3.2, (17, 8, 0.05, 10, 0.1, 14), (0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381)),
)


def _hartmann6(point: Point) -> float:
    return -sum(
        depth * exp(-sum(a * (x - p) ** 2 for a, x, p in zip(widths, point, place, strict=True)))
        for depth, widths, place in HARTMANN6
    )


SURFACES = {
    "Branin": Surface(_branin, ((-5, 10), (0, 15)), 0.397887),
    "Hartmann6": Surface(_hartmann6, ((0, 1),) * 6, -3.32237),
}
