"""A Gaussian process finds the optimum of a smooth function where chance does not.

All is seeded, so for pinned versions these tests always end in the same way.
"""

from math import log
from statistics import median
from typing import Any

import pytest
from scipy.stats import wilcoxon  # type: ignore[import-untyped]  # it has no types

from metta.sweep.optimizers.bayesian import BayesianOptimizer
from metta.sweep.optimizers.random import RandomOptimizer
from tests.statistics.searching import Begin, asking, regret
from tests.statistics.surfaces import SURFACES

SEEDS = range(12)
EVALUATIONS = 25
ALPHA = 0.001
"""Were there no difference to random search, a case would pass with this probability."""

pytestmark = pytest.mark.timeout(180)  # some seconds each, where nothing else runs

BRANIN = SURFACES["Branin"]


def regrets(begin: Begin, pending: int) -> list[float]:
    return [regret(begin(BRANIN, seed), BRANIN, EVALUATIONS, pending) for seed in SEEDS]


@pytest.mark.parametrize(("acquisition", "pending"), [("EI", 1), ("UCB", 1), ("EI", 4)])
def test_it_finds_far_better_trials_than_random_search(acquisition: str, pending: int) -> None:
    ours = regrets(asking(BayesianOptimizer, acquisition=acquisition), pending)
    by_chance = regrets(asking(RandomOptimizer), pending)
    ratios = [log(one) - log(other) for one, other in zip(ours, by_chance, strict=True)]
    test: Any = wilcoxon(ratios, alternative="less")
    assert test.pvalue < ALPHA
    assert median(ours) < 0.2 < median(by_chance)
