"""What to try next: pure ask and tell, one file each."""

from typing import TYPE_CHECKING

from metta.sweep.contracts.lazy import lazy

if TYPE_CHECKING:
    from metta.sweep.optimizers.base import Optimizer as Optimizer
    from metta.sweep.optimizers.bayesian import BayesianOptimizer as BayesianOptimizer
    from metta.sweep.optimizers.optuna import OptunaOptimizer as OptunaOptimizer
    from metta.sweep.optimizers.random import RandomOptimizer as RandomOptimizer

__all__, __getattr__, __dir__ = lazy(
    __name__,
    {
        "base": ["Optimizer"],
        "bayesian": ["BayesianOptimizer"],
        "optuna": ["OptunaOptimizer"],
        "random": ["RandomOptimizer"],
    },
)
