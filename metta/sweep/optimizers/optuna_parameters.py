"""Parameters as Optuna knows them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import optuna
from pydantic import JsonValue

from metta.sweep.contracts.distributions import Choice, Distribution, Integer, LogUniform, Uniform


class Parameter(NamedTuple):
    """How a parameter is asked of Optuna, and how its values are translated.

    Args:
        suggest: Asks a trial of Optuna for a value, in Optuna's terms.
        outer: From Optuna's terms to a value of the distribution.
        inner: The other way round.
    """

    suggest: Callable[[optuna.Trial], Any]
    outer: Callable[[Any], JsonValue]
    inner: Callable[[Any], Any]


def parameter_of(name: str, distribution: Distribution) -> Parameter:
    """A parameter in Optuna's terms.

    Numbers stay numbers where Optuna knows their distribution; values without an order become their
    index, so that lists and dicts are allowed; everything else goes through the unit interval.
    """

    def on_step(value: float) -> JsonValue:
        return distribution.from_unit(distribution.to_unit(value))

    def same(value: Any) -> Any:
        return value

    match distribution:
        case Choice(values=values):
            size = len(values)
            return Parameter(
                lambda trial: trial.suggest_categorical(name, range(size)),
                lambda index: distribution.from_unit((index + 0.5) / size),
                lambda value: int(distribution.to_unit(value) * size),
            )
        case LogUniform(low=low, high=high):
            return Parameter(lambda trial: trial.suggest_float(name, low, high, log=True), same, same)
        case Uniform(low=low, high=high, step=None):
            return Parameter(lambda trial: trial.suggest_float(name, low, high), same, same)
        case Uniform(low=low, step=grid):
            top = float(str(distribution.from_unit(1.0)))  # high need not be on the step
            return Parameter(lambda trial: trial.suggest_float(name, low, top, step=grid), on_step, same)
        case Integer(low=first, step=step, log=False):
            last = int(str(distribution.from_unit(1.0)))
            return Parameter(lambda trial: trial.suggest_int(name, first, last, step=step), same, same)
        case Integer(low=first, high=last, step=1, log=True):
            return Parameter(lambda trial: trial.suggest_int(name, first, last, log=True), same, same)
    return Parameter(
        lambda trial: trial.suggest_float(name, 0.0, 1.0), distribution.from_unit, distribution.to_unit
    )
