"""Durable experiments on Temporal: sweeps that survive ``kill -9``.

Names are imported when they are first used, so that ``import metta.sweep`` stays fast.
"""

from typing import TYPE_CHECKING

from metta.sweep.contracts.lazy import lazy

if TYPE_CHECKING:
    from metta.sweep.client.observations import load_observations as load_observations
    from metta.sweep.contracts.budgets import Budget as Budget
    from metta.sweep.contracts.distributions import Choice as Choice
    from metta.sweep.contracts.distributions import Constant as Constant
    from metta.sweep.contracts.distributions import Integer as Integer
    from metta.sweep.contracts.distributions import LogitUniform as LogitUniform
    from metta.sweep.contracts.distributions import LogNormal as LogNormal
    from metta.sweep.contracts.distributions import LogUniform as LogUniform
    from metta.sweep.contracts.distributions import Normal as Normal
    from metta.sweep.contracts.distributions import Ordinal as Ordinal
    from metta.sweep.contracts.distributions import Pow2 as Pow2
    from metta.sweep.contracts.distributions import Uniform as Uniform
    from metta.sweep.contracts.errors import BadMetric as BadMetric
    from metta.sweep.contracts.errors import BudgetSpent as BudgetSpent
    from metta.sweep.contracts.errors import DefinitionError as DefinitionError
    from metta.sweep.contracts.errors import Infeasible as Infeasible
    from metta.sweep.contracts.errors import PipelineDefinitionError as PipelineDefinitionError
    from metta.sweep.contracts.errors import StageFailed as StageFailed
    from metta.sweep.contracts.errors import SweepError as SweepError
    from metta.sweep.contracts.errors import SweepFailed as SweepFailed
    from metta.sweep.contracts.errors import TrialInterrupted as TrialInterrupted
    from metta.sweep.contracts.failures import RetryPolicy as RetryPolicy
    from metta.sweep.contracts.failures import exponential as exponential
    from metta.sweep.contracts.jobs import Job as Job
    from metta.sweep.contracts.spaces import SearchSpace as SearchSpace
    from metta.sweep.contracts.stages import current_stage as current_stage
    from metta.sweep.contracts.trials import Observation as Observation
    from metta.sweep.contracts.trials import Resources as Resources
    from metta.sweep.contracts.trials import Trial as Trial
    from metta.sweep.contracts.trials import current_trial as current_trial
    from metta.sweep.experiments.defaults import configure as configure

__all__, __getattr__, __dir__ = lazy(
    __name__,
    {
        "client.observations": ["load_observations"],
        "contracts.budgets": ["Budget"],
        "contracts.distributions": [
            "Choice",
            "Constant",
            "Integer",
            "LogNormal",
            "LogUniform",
            "LogitUniform",
            "Normal",
            "Ordinal",
            "Pow2",
            "Uniform",
        ],
        "contracts.errors": [
            "BadMetric",
            "BudgetSpent",
            "DefinitionError",
            "Infeasible",
            "PipelineDefinitionError",
            "StageFailed",
            "SweepError",
            "SweepFailed",
            "TrialInterrupted",
        ],
        "contracts.failures": ["RetryPolicy", "exponential"],
        "contracts.jobs": ["Job"],
        "contracts.spaces": ["SearchSpace"],
        "contracts.stages": ["current_stage"],
        "contracts.trials": ["Observation", "Resources", "Trial", "current_trial"],
        "experiments.defaults": ["configure"],
    },
)
