"""The purse: how the budget of an experiment is divided among what runs within it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from metta.sweep.contracts.budgets import Budget, SharedBudget, Spent
from metta.sweep.contracts.errors import DefinitionError

SUMMED = ("trials", "epochs", "cost")
"""Limits that are divided up; time passes for all at once, and a target is each one's own."""


@dataclass
class _Share:
    asked: Budget
    before: Spent
    granted: Budget


class Purse:
    """A budget, what has been spent of it, and what those may spend that run now.

    No more is granted than is left when all that run spend all that they were granted.

    Args:
        budget: The budget.
        spent: What has been spent before.
        elapsed_s: How long it has been running, in seconds.

    Attributes:
        version: Counts the moments at which there may be more to grant than before.
    """

    def __init__(self, budget: Budget, spent: Spent, elapsed_s: Callable[[], float]) -> None:
        self.budget, self.spent = budget, spent
        self.version = 0
        self._elapsed_s = elapsed_s
        self._shares: dict[str, _Share] = {}

    @property
    def is_limited(self) -> bool:
        """Whether there is any limit."""
        return self.budget.is_limited

    @property
    def total(self) -> Spent:
        """What has been spent by those who have ended, and in how much time."""
        return self.spent.model_copy(update={"seconds": self._elapsed_s()})

    @property
    def names(self) -> tuple[str, ...]:
        """Those who have a share now, in the order in which they began."""
        return tuple(self._shares)

    @property
    def has_time(self) -> bool:
        """Whether the time is not used up."""
        return self.budget.time_s is None or self._elapsed_s() < self.budget.time_s

    def grant(self, name: str, asked: Budget, before: Spent) -> Budget | None:
        """What somebody may spend in all, with what it has spent before; None when a sweep can have nothing.

        Args:
            name: Who.
            asked: Its own limits.
            before: What it has spent before, which is among what has been spent in all.
        """
        limits = {limit: self._limit(limit, asked, before) for limit in SUMMED}
        nothing_left = any(
            most is not None and most <= getattr(before, limit) and not _is_used_up(asked, before, limit)
            for limit, most in limits.items()
        )
        # an experiment may have stages that spend nothing
        if (nothing_left or not self.has_time) and not isinstance(asked, SharedBudget):
            return None
        granted = asked.model_copy(update={**limits, **self._time(asked, before)})
        self._shares[name] = _Share(asked, before, granted)
        return granted

    def note(self, name: str, asked: Budget) -> None:
        """Somebody begins while there is no limit."""
        self._shares[name] = _Share(asked, Spent(), asked)

    def settle(self, name: str, now: Spent) -> None:
        """Somebody has ended, and what it has not spent is there for others.

        Args:
            name: Who.
            now: What it has spent in all.
        """
        if share := self._shares.pop(name, None):
            self.spent = self.spent.plus(now.minus(share.before))
            self.version += 1

    def change(self, budget: Budget, spent: Spent, now: Mapping[str, Spent]) -> dict[str, Budget]:
        """Divide another budget among those that run; what each has spent, it has.

        Args:
            budget: The new limits.
            spent: What has been spent in all.
            now: What each of those has spent that run.

        Returns:
            What each of them may spend in all from now on.

        Raises:
            DefinitionError: When more has been spent than the new limits allow.
        """
        problems = [
            f"{limit}: {getattr(spent, limit):g} are spent, got {most:g}; give more than that, or stop it"
            for limit in SUMMED
            if (most := getattr(budget, limit)) is not None and most < getattr(spent, limit)
        ]
        if problems:
            raise DefinitionError(problems, "the budget")
        asked = {name: share.asked for name, share in self._shares.items()}
        self.budget, self.spent, self._shares = budget, spent, {}
        self.version += 1
        return {name: self._granted_anew(name, asked[name], now[name]) for name in asked}

    def _granted_anew(self, name: str, asked: Budget, now: Spent) -> Budget:
        if granted := self.grant(name, asked, now):
            return granted
        # it has what it has spent, and no more; a limit of nothing cannot be written down
        kept = {
            limit: max(getattr(now, limit), 1 if limit != "cost" else 1e-9)
            for limit in SUMMED
            if getattr(self.budget, limit) is not None
        }
        granted = asked.model_copy(update={**kept, **self._time(asked, now)})
        self._shares[name] = _Share(asked, now, granted)
        return granted

    def _limit(self, limit: str, asked: Budget, before: Spent) -> float | None:
        own: float | None = getattr(asked, limit)
        most: float | None = getattr(self.budget, limit)
        if most is None:
            return own
        promised = sum(
            max(0, getattr(share.granted, limit) - getattr(share.before, limit))
            for share in self._shares.values()
        )
        left = max(0, most - getattr(self.spent, limit) - promised)
        allowed: float = getattr(before, limit) + left
        return min(allowed, own) if own is not None else allowed

    def _time(self, asked: Budget, before: Spent) -> dict[str, float | None]:
        if self.budget.time_s is None:
            return {}
        left_s = before.seconds + max(1e-3, self.budget.time_s - self._elapsed_s())
        own_s = asked.time_s
        return {"hours": None, "seconds": left_s if own_s is None else min(own_s, left_s)}


def _is_used_up(asked: Budget, before: Spent, limit: str) -> bool:
    """Whether somebody has spent all that he asks for, and ends by himself."""
    own = getattr(asked, limit)
    return own is not None and own <= getattr(before, limit)
