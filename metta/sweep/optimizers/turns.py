"""Turns: an optimizer as stages of a pipeline, one of which suggests and another one observes."""

from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any, Union

from pydantic import JsonValue

from metta.sweep.contracts.distributions import Choice, Constant, Distribution, Ordinal
from metta.sweep.contracts.errors import SweepError, shown
from metta.sweep.contracts.failures import Failure
from metta.sweep.contracts.metrics import Objective, inferred_goal
from metta.sweep.contracts.trials import Trial
from metta.sweep.optimizers.by_hand import aimed
from metta.sweep.optimizers.forms import FLOWING

if TYPE_CHECKING:
    from metta.sweep.optimizers.base import Optimizer


class Turns:
    """Has an optimizer suggest one trial after the other, as a search of one slot does.

    The trial that was suggested last is kept with the optimizer until the next one is.

    Args:
        optimizer: The optimizer.
    """

    def __init__(self, optimizer: "Optimizer") -> None:
        self._optimizer = optimizer

    @property
    def parameters(self) -> Mapping[str, Any] | None:
        """Types of the parameters that trials have, by name; None when nobody knows."""
        space = self._optimizer.search_space
        return {name: _type_of(d) for name, d in space.items()} if space is not None else None

    @property
    def conditional(self) -> frozenset[str]:
        """Parameters that not every trial has."""
        space = self._optimizer.search_space
        return frozenset(n for n, needed in space.conditions.items() if needed) if space else frozenset()

    def suggested(self) -> dict[str, JsonValue]:
        """The parameters of one more trial.

        Raises:
            SweepError: When nothing is left to try.
        """
        optimizer, name = self._optimizer, type(self._optimizer).__name__
        number = optimizer.next_number
        found = optimizer.suggest(1)
        if not found:
            raise SweepError(f"{name} has nothing left to suggest; end the pipeline before it comes to that")
        first: object = found[0]
        if not isinstance(first, Trial):
            raise SweepError(f"a suggestion of {name} has to be a Trial, got {shown(first)}")
        # numbered as a search does it: an optimizer of the user's need not count
        object.__setattr__(optimizer, FLOWING, Trial(first.params, number))
        if optimizer.next_number <= number:
            object.__setattr__(optimizer, "next_number", number + 1)
        return dict(first.params)

    def observed(self, metric: str, value: object) -> None:
        """Tell what became of the trial that was suggested last.

        Args:
            metric: What the number is called; says whether more of it is better.
            value: The number. One that is not finite is told as a failure.

        Raises:
            SweepError: When no trial was suggested, or it is no number.
        """
        trial: Trial | None = vars(self._optimizer).get(FLOWING)
        if trial is None:
            name = type(self._optimizer).__name__
            raise SweepError(f"{name} has suggested no trial yet, of which {metric} could be told")
        try:
            number = float(value)  # type: ignore[arg-type] # that is what is tried
        except (TypeError, ValueError):
            raise SweepError(f"{metric} has to be a number, got {shown(value)}") from None
        aimed(self._optimizer, Objective(metric, inferred_goal(metric)))
        if not isfinite(number):
            self._optimizer.observe(trial, Failure(kind="bad_metric", message=f"{metric} is {number}"))
        else:
            self._optimizer.observe(trial, {metric: number} if self._optimizer.all_metrics else number)


def _type_of(distribution: Distribution) -> Any:
    """Type of the values that it gives."""
    match distribution:
        case Choice() | Ordinal():
            values = list(distribution.values)
        case Constant():
            values = [distribution.value]
        case _:
            values = [distribution.from_unit(0.5)]
    return Union[tuple(dict.fromkeys(map(type, values)))]  # noqa: UP007 - the members are known only now
