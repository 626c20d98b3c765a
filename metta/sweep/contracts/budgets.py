"""How much a sweep may spend, and what people may change while it runs."""

from typing import Literal, Self, TypeVar

from pydantic import Field, JsonValue, field_validator, model_validator

from metta.sweep.contracts.errors import DefinitionError, shown
from metta.sweep.contracts.models import Edge, Wire, parse


class Budget(Edge):
    """Limits of a sweep; the first one that is reached ends it.

    Trials are counted when they start, and retries are free. When trials, epochs or cost are used up, running
    trials end as usual; when the time is used up or the target reached, they are stopped.

    Args:
        trials: Trials to start.
        hours: Time the sweep may run, in hours; time in which nothing worked on it is not counted.
        seconds: The same in seconds; added to ``hours`` when both are given.
        target: Value of the metric that is good enough.
        epochs: Steps that all trials together may train.
        cost: What all trials together may cost: the metric ``cost`` of those that report it, else the
            seconds that their attempts ran.
    """

    trials: int | None = Field(default=None, ge=1)
    hours: float | None = Field(default=None, gt=0)
    seconds: float | None = Field(default=None, gt=0)
    target: float | None = None
    epochs: int | None = Field(default=None, ge=1)
    cost: float | None = Field(default=None, gt=0)

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

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit to what is spent."""
        limits = (self.trials, self.epochs, self.cost, self.time_s)
        return any(limit is not None for limit in limits)

    def at_least(self, spent: "Spent") -> Self:
        """These limits, or what has been spent where that is more.

        >>> Budget(trials=3).at_least(Spent(trials=5)).trials
        5
        """
        limits = {name: getattr(self, name) for name in SUMMED}
        more = {name: max(limit, getattr(spent, name)) for name, limit in limits.items() if limit is not None}
        return self.model_copy(update=more)

    def changed(self, change: "Budget") -> Self:
        """This budget with the limits of ``change`` that were given; None lifts a limit.

        >>> Budget(trials=20, target=0.9).changed(Budget(trials=40))
        Budget(trials=40, hours=None, seconds=None, target=0.9, epochs=None, cost=None)
        """
        given = {name: getattr(change, name) for name in change.model_fields_set}
        return self.model_copy(update=given)


class SharedBudget(Budget):
    """Limits of an experiment, for all that runs within it together; nothing may be left of them.

    Args:
        trials: Trials to start.
        hours: Time the experiment may run, in hours.
        seconds: The same in seconds; added to ``hours`` when both are given.
        target: Not for an experiment: several sweeps may run within it.
        epochs: Steps that all trials together may train.
        cost: What all trials together may cost.
    """

    trials: int | None = Field(default=None, ge=0)
    epochs: int | None = Field(default=None, ge=0)
    cost: float | None = Field(default=None, ge=0)

    @field_validator("target")
    @classmethod
    def _has_none(cls, target: float | None) -> None:
        if target is not None:
            raise ValueError(f"belongs to one sweep, and several may run here; give it that, got {target:g}")


BudgetT = TypeVar("BudgetT", bound=Budget)


def limits_of(given: Budget | int | None, kind: type[BudgetT]) -> BudgetT:
    """A budget as programs give it; without limits where they give none.

    >>> limits_of(20, Budget).trials
    20

    Args:
        given: Limits, or a number of trials.
        kind: Whose budget it is to be: ``Budget`` or ``SharedBudget``.

    Raises:
        DefinitionError: With every mistake.
    """
    plain = given.model_dump(exclude_unset=True) if isinstance(given, Budget) else given
    return kind() if plain is None else parse(kind, plain, "the budget")


def limits_or_problems(given: Budget | int | None) -> tuple[Budget, list[str]]:
    """A budget that may be left out, and what is wrong with it."""
    try:
        return limits_of(given, Budget), []
    except DefinitionError as error:
        return Budget(), [f"budget: {problem}" for problem in error.problems]


class Spent(Wire):
    """What was spent of a budget.

    Args:
        trials: Trials that were started.
        epochs: Steps that they have trained.
        cost: What they have cost.
        seconds: How long it ran.
    """

    trials: int = 0
    epochs: int = 0
    cost: float = 0.0
    seconds: float = 0.0

    def plus(self, other: "Spent") -> "Spent":
        """The sum of both.

        >>> Spent(trials=2).plus(Spent(trials=1, cost=0.5))
        Spent(trials=3, epochs=0, cost=0.5, seconds=0.0)
        """
        return Spent(**{name: getattr(self, name) + getattr(other, name) for name in Spent.model_fields})

    def minus(self, other: "Spent") -> "Spent":
        """What is more than another one."""
        return Spent(**{name: getattr(self, name) - getattr(other, name) for name in Spent.model_fields})


SUMMED = ("trials", "epochs", "cost")
"""Limits of what is counted; time passes by itself, and a target is reached or not."""


def below_spent(budget: Budget, spent: Spent, way_out: str) -> list[str]:
    """Which limits are lower than what is spent already, one sentence each; as much as that may be given.

    >>> below_spent(Budget(trials=3, cost=2), Spent(trials=5, cost=2), "stop it")
    ['trials: 5 are spent, got 3; give more than that, or stop it']

    Args:
        budget: The limits.
        spent: What is spent.
        way_out: What else can be done.
    """
    return [
        f"{limit}: {getattr(spent, limit):g} are spent, got {most:g}; give more than that, or {way_out}"
        for limit in SUMMED
        if (most := getattr(budget, limit)) is not None and most < getattr(spent, limit)
    ]


def check_goes_on(budget: Budget, before: Budget, spent: Spent, name: str) -> None:
    """See to it that what goes on has not spent more than it may from now on.

    Args:
        budget: Its limits from now on.
        before: Those that were in force when it ended. One that stays is not looked at: the last running
            trials may have spent more epochs or cost, and the same program may be run again.
        spent: What it has spent.
        name: Its name.

    Raises:
        DefinitionError: With every limit that is too low.
    """
    same = {limit: None for limit in SUMMED if getattr(budget, limit) == getattr(before, limit)}
    way_out = "leave it out to keep the one that it had"
    if problems := below_spent(budget.model_copy(update=same), spent, way_out):
        raise DefinitionError(problems, f"the budget of {name}")


def budget_from(value: JsonValue) -> Budget:
    """A budget as people write it: a number of trials, or limits by name.

    >>> budget_from(20), budget_from({"hours": 2}).time_s
    (Budget(trials=20, hours=None, seconds=None, target=None, epochs=None, cost=None), 7200.0)

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
        pause: ``"soon"`` starts nothing new, ``"now"`` also interrupts running trials at their next report;
            None lets it run.
        concurrency: Trials that may run at the same time; None leaves it to scheduler and executor.
        handover: Whether the session is to let its trials end and return, for the workflow to go on
            as a new run.
    """

    run: str = ""
    version: int = 0
    budget: Budget = Budget()
    stop: bool = False
    pause: Literal["soon", "now"] | None = None
    concurrency: int | None = Field(default=None, ge=1)
    handover: bool = False

    @property
    def state(self) -> Literal["running", "paused", "stopping"]:
        """What a sweep does that is not over."""
        if self.stop:
            return "stopping"
        return "paused" if self.pause else "running"


def concurrency_from(value: JsonValue) -> int | None:
    """A number of trials that may run at the same time; None lifts the limit.

    Raises:
        DefinitionError: When it is neither.
    """
    return parse(Control, {"concurrency": value}, "the concurrency").concurrency


def pause_from(value: JsonValue) -> Literal["soon", "now"]:
    """A pause: ``"now"`` interrupts running trials, ``"soon"`` or nothing lets them end.

    Raises:
        DefinitionError: When it is something else.
    """
    return parse(Control, {"pause": value}, "the pause").pause or "soon"
