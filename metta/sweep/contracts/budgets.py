"""How much a sweep may spend, and what people may change while it runs."""

from pydantic import Field, JsonValue, model_validator

from metta.sweep.contracts.errors import shown
from metta.sweep.contracts.models import Edge, Wire, parse


class Budget(Edge):
    """Limits of a sweep; the first one that is reached ends it.

    Trials are counted when they start, and retries are free. When the trials are used up, running ones
    end as usual; when the time is used up or the target reached, they are stopped.

    Args:
        trials: Trials to start.
        hours: Time the sweep may run, in hours; time in which nothing worked on it is not counted.
        seconds: The same in seconds; added to ``hours`` when both are given.
        target: Value of the metric that is good enough.
    """

    trials: int | None = Field(default=None, ge=1)
    hours: float | None = Field(default=None, gt=0)
    seconds: float | None = Field(default=None, gt=0)
    target: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_trials(cls, value: object) -> object:
        """A bare number is a number of trials."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return {"trials": value}
        if isinstance(value, (dict, Budget)):
            return value
        raise ValueError(f'write a number of trials, or limits such as {{"hours": 2}}, got {shown(value)}')

    @property
    def time_s(self) -> float | None:
        """Time the sweep may run in seconds, or None without a limit.

        >>> Budget(hours=0.5, seconds=30).time_s
        1830.0
        """
        if self.hours is None and self.seconds is None:
            return None
        return (self.hours or 0.0) * 3600 + (self.seconds or 0.0)

    def changed(self, change: "Budget") -> "Budget":
        """This budget with the limits of ``change`` that were given; None lifts a limit.

        >>> Budget(trials=20, target=0.9).changed(Budget(trials=40))
        Budget(trials=40, hours=None, seconds=None, target=0.9)
        """
        given = {name: getattr(change, name) for name in change.model_fields_set}
        return self.model_copy(update=given)


def budget_from(value: JsonValue) -> Budget:
    """A budget as people write it: a number of trials, or limits by name.

    >>> budget_from(20), budget_from({"hours": 2}).time_s
    (Budget(trials=20, hours=None, seconds=None, target=None), 7200.0)

    Raises:
        DefinitionError: With every mistake.
    """
    return parse(Budget, value, "the budget")


class Control(Wire):
    """What people want of a running sweep; each change has a higher version.

    Args:
        run: Temporal run id that counts the versions.
        version: Counts the changes, from 0.
        budget: The limits in force.
        stop: Whether the sweep is to end now.
        handover: Whether the session is to let its trials end and return, for the workflow to go on
            as a new run.
    """

    run: str = ""
    version: int = 0
    budget: Budget = Budget()
    stop: bool = False
    handover: bool = False
