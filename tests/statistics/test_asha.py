"""Asynchronous halving against synchronous halving, where workers straggle and jobs are lost.

Time is virtual and all chance is seeded, so nothing of this depends on the machine.
"""

from collections.abc import Callable
from functools import cache
from statistics import fmean
from typing import NamedTuple, TypeAlias

import pytest

from tests.statistics.halving import Asynchronous, Halving, Synchronous, finished

LIMIT = 1000.0
SEEDS = range(6)

Begin: TypeAlias = Callable[[int], Halving]
"""Begins a search with a seed."""


class Weather(NamedTuple):
    """How much jobs straggle, and how often one is lost in a unit of time."""

    sigma: float
    drop: float


CALM, ROUGH, WILD = Weather(0, 0), Weather(0.5, 0.002), Weather(1, 0.002)


@cache
def runs(begin: Begin, weather: Weather) -> list[list[float]]:
    """When trials had been trained to the last level, seed by seed."""
    return [finished(begin(seed), *weather, LIMIT, seed) for seed in SEEDS]


def trained(begin: Begin, weather: Weather) -> float:
    """How many trials were."""
    return fmean(len(times) for times in runs(begin, weather))


def first(begin: Begin, weather: Weather) -> float:
    """When the first one was."""
    return fmean(min(times, default=LIMIT) for times in runs(begin, weather))


def gain(weather: Weather) -> float:
    return trained(Asynchronous, weather) / trained(Synchronous, weather)


def lead(weather: Weather) -> float:
    return first(Synchronous, weather) - first(Asynchronous, weather)


@pytest.mark.parametrize("weather", [CALM, ROUGH, WILD])
def test_nobody_waits_for_stragglers_so_that_more_trials_come_to_the_end(weather: Weather) -> None:
    assert gain(weather) > 1


@pytest.mark.parametrize("weather", [ROUGH, WILD])
def test_the_first_one_comes_to_the_end_sooner(weather: Weather) -> None:
    assert lead(weather) > 0


def test_the_worse_the_weather_the_more_is_gained() -> None:
    assert gain(CALM) < gain(WILD)
    assert lead(CALM) < lead(ROUGH) < lead(WILD)
