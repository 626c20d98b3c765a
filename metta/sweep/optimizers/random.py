"""Random search (Bergstra and Bengio, "Random Search for Hyper-Parameter Optimization", JMLR 2012)."""

from typing import ClassVar

from metta.sweep.contracts.trials import Result, Trial
from metta.sweep.optimizers.base import Optimizer


class RandomOptimizer(Optimizer):
    """Draws each trial from the space, independently of all others.

    >>> from metta.sweep.contracts.distributions import Uniform
    >>> [trial] = RandomOptimizer({"x": Uniform(0, 1)}, seed=7).suggest(1)
    >>> sorted(trial.params)
    ['x']
    """

    stateless = True
    result_blind: ClassVar[bool] = True

    def suggest(self, n: int) -> list[Trial]:
        """Draw ``n`` trials; the draw of a trial depends on the seed and its number alone."""
        numbers = range(self.next_number, self.next_number + n)
        self.next_number += n
        return [Trial(self.space.sample(self.rng(number)), number) for number in numbers]

    def observe(self, trial: Trial, result: Result) -> None:
        """Nothing is learnt."""
