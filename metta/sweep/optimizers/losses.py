"""Losses: results as numbers to be minimized, for libraries that know no other direction."""

from collections.abc import Mapping, Sequence

from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.failures import Failure
from metta.sweep.contracts.metrics import BARE, Objective
from metta.sweep.contracts.trials import Result


def loss_of(result: Result, objectives: Sequence[Objective], optimizer: str) -> float | Failure:
    """The number to be minimized; a failure stays one.

    Args:
        result: What became of a trial.
        objectives: Metrics and directions; without any, a single metric tells them by its name.
        optimizer: Who asks.

    Raises:
        DefinitionError: When nothing says which metric counts, and in which direction.
    """
    if isinstance(result, Failure):
        return result
    metrics = result if isinstance(result, Mapping) else {BARE: float(result)}
    objective = next(iter(objectives), None) or Objective.resolve(None, None, metrics)
    if objective is None:
        problem = "nothing says which metric counts, and whether more of it is better: observe a dict"
        raise DefinitionError([f'{problem} such as {{"accuracy": 0.9}}'], optimizer)
    value = metrics[objective.metric if isinstance(result, Mapping) else BARE]
    return -value if objective.goal == "maximize" else value
