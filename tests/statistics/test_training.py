"""Real training: TPE with ASHA, against random search that trains every trial to its end.

Pauses, promotions and checkpoints are those of any sweep. All of it is seeded and runs one trial at a time:
for pinned versions it always ends in the same way on one machine, while others may round differently.
"""

from typing import Any, NamedTuple

import pytest
from scipy.stats import wilcoxon  # type: ignore[import-untyped]  # it has no types

from metta.sweep import Budget
from metta.sweep.experiments import SweepExperiment
from metta.sweep.optimizers import OptunaOptimizer, RandomOptimizer
from metta.sweep.optimizers.base import Optimizer
from metta.sweep.schedulers import ASHAScheduler, AsynchronousScheduler
from metta.sweep.schedulers.base import Scheduler
from tests.statistics.training import EPOCHS, SPACE, Machine, train

pytestmark = [
    pytest.mark.usefixtures("project"),
    pytest.mark.timeout(300),  # half a minute, where nothing else runs
]

SEEDS = range(10)
ALPHA = 0.01
"""If stopping and learning were worth nothing, the test would still pass with this probability."""
BUDGET = 10 * EPOCHS
LONGEST_SEGMENT = 18
"""Epochs from ASHA's last rung but one to the last: a segment that has begun may exceed the budget."""


class Found(NamedTuple):
    """Accuracies of the trial that is best on the validation set, and what the search has cost."""

    accuracy: float
    test_accuracy: float
    epochs: int


def found(optimizer: Optimizer, scheduler: Scheduler, budget: int, seed: int) -> Found:
    before = Machine.epochs_of_all
    sweep = SweepExperiment(
        train, SPACE, optimizer=optimizer, scheduler=scheduler, metric="accuracy", seed=seed
    )
    best = sweep.run(Budget(epochs=budget), debug=True).final_performance
    return Found(**best, epochs=Machine.epochs_of_all - before)


def by_chance(seed: int) -> Found:
    return found(RandomOptimizer(), AsynchronousScheduler(), BUDGET, seed)


def halved(seed: int) -> Found:
    # most trials are seen for one epoch only: TPE looks round for longer than by default
    tpe = OptunaOptimizer(n_startup_trials=20)
    return found(tpe, ASHAScheduler(max_epochs=EPOCHS), BUDGET - LONGEST_SEGMENT + 1, seed)


def p_no_better(ours: list[Any], theirs: list[Any]) -> float:
    """Probability of being so much better, were there no difference."""
    test: Any = wilcoxon(ours, theirs, alternative="greater")
    return float(test.pvalue)


def test_in_as_many_epochs_tpe_with_asha_finds_better_settings_than_random_search() -> None:
    ours, theirs = [halved(seed) for seed in SEEDS], [by_chance(seed) for seed in SEEDS]
    assert all(one.epochs <= other.epochs for one, other in zip(ours, theirs, strict=True))
    assert p_no_better([one.accuracy for one in ours], [other.accuracy for other in theirs]) < ALPHA
    # nor is it only chosen more often among more trials
    assert p_no_better([one.test_accuracy for one in ours], [other.test_accuracy for other in theirs]) < ALPHA
