"""The purse: how the budget of an experiment is divided among what runs within it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from metta.sweep.contracts.budgets import SUMMED, Budget, SharedBudget, Spent, below_spent
from metta.sweep.contracts.errors import DefinitionError

LIMITS = (*SUMMED, "time_s")
"""All that may hold somebody back, as attributes of budgets."""


@dataclass(frozen=True)
class _Share:
    """What somebody may spend.

    Args:
        asked: His own limits.
        before: What he had spent when the total was counted last.
        granted: What he may spend in all.
        offset_s: His clock is ahead of the experiment's by so much.
    """

    asked: Budget
    before: Spent
    granted: Budget
    offset_s: float


class Purse:
    """A budget, what has been spent of it, and what those may spend that run now.

    No more is granted than is left when all that run spend all that they were granted.

    Args:
        budget: The budget.
        spent: What has been spent before.
        elapsed_s: How long the experiment has been running, in seconds.

    Attributes:
        version: Counts the moments at which there may be more to grant than before.
    """

    def __init__(self, budget: SharedBudget, spent: Spent, elapsed_s: Callable[[], float]) -> None:
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

    def share(self, name: str) -> Budget | None:
        """What somebody may spend in all who runs; None where there is no limit."""
        return self._shares[name].granted if self.is_limited else None

    def note(self, name: str, asked: Budget) -> None:
        """Somebody begins while there is no limit."""
        self._shares[name] = _Share(asked, Spent(), asked, -self._elapsed_s())

    def grant(self, name: str, asked: Budget, before: Spent) -> Budget | None:
        """What somebody may spend in all, with what he has spent before.

        Args:
            name: Who.
            asked: His own limits.
            before: What he has spent before, which is among what has been spent in all.

        Returns:
            His share; None when nothing is left for him: a sweep needs something, and an experiment may have
            stages that spend nothing, but waits as long as others may give something back.
        """
        assert name not in self._shares, f"{name} runs already"
        needs_something = not isinstance(asked, SharedBudget) or bool(self._shares and self.has_time)
        if needs_something and self.lacking(asked, before):
            return None
        limits = {limit: self._limit(limit, asked, before) for limit in SUMMED}
        offset_s = before.seconds - self._elapsed_s()
        granted = asked.model_copy(update={**limits, **self._time(asked, offset_s)})
        self._shares[name] = _Share(asked, before, granted, offset_s)
        return granted

    def lacking(self, asked: Budget, before: Spent) -> list[str]:
        """Limits of which nothing is left for somebody who asks for more than he has spent."""
        limits = {limit: self._limit(limit, asked, before) for limit in SUMMED}
        found = [
            limit
            for limit, most in limits.items()
            if most is not None and most <= getattr(before, limit) and not _is_used_up(asked, before, limit)
        ]
        return found if self.has_time else [*found, "time_s"]

    def own(self, name: str) -> list[str]:
        """Limits at which somebody has all that he asks for: a larger budget here gives him no more."""
        asked, granted = self._shares[name].asked, self._shares[name].granted
        limits = [limit for limit in LIMITS if getattr(asked, limit) is not None]
        return [limit for limit in limits if getattr(asked, limit) == getattr(granted, limit)]

    def settle(self, name: str, now: Spent | None) -> None:
        """Somebody has ended, and what he has not spent is there for others.

        Args:
            name: Who.
            now: What he has spent in all; None when that is not known: all that he might have spent.
        """
        share = self._shares.pop(name)
        if now is None:
            granted = {limit: getattr(share.granted, limit) for limit in SUMMED}
            now = share.before.model_copy(update={k: v for k, v in granted.items() if v is not None})
        self.spent = self.spent.plus(now.minus(share.before))
        self.version += 1

    def change(self, budget: SharedBudget, spent: Spent, now: Mapping[str, Spent]) -> dict[str, Budget]:
        """Divide another budget among those that run. Nobody loses what another one gains.

        Args:
            budget: The new limits.
            spent: What has been spent in all.
            now: What each of those has spent that run.

        Returns:
            What each of them may spend in all from now on.

        Raises:
            DefinitionError: When more has been spent than the new limits allow.
        """
        if problems := below_spent(budget, spent, "stop it"):
            raise DefinitionError(problems, "the budget")
        self.budget, self.spent = budget, spent
        self.version += 1
        divided = {limit: self._divided(limit, now) for limit in SUMMED}
        for name, share in self._shares.items():
            limits = {limit: totals[name] for limit, totals in divided.items()}
            update = {**limits, **self._time(share.asked, share.offset_s)}
            granted = share.asked.model_copy(update=update)
            self._shares[name] = replace(share, before=now[name], granted=granted)
        return {name: share.granted for name, share in self._shares.items()}

    def _divided(self, limit: str, now: Mapping[str, Spent]) -> dict[str, float | None]:
        """What each of those that run may spend of a limit: first what he had, then what he asked for."""
        most: float | None = getattr(self.budget, limit)
        if most is None:
            return {name: getattr(share.asked, limit) for name, share in self._shares.items()}
        left = most - getattr(self.spent, limit)
        totals: dict[str, float | None] = {}
        for wanted in ("granted", "asked"):
            for name, share in self._shares.items():
                has = totals.get(name) or getattr(now[name], limit)
                wants = getattr(getattr(share, wanted), limit)
                more = left if wants is None else max(0, min(left, wants - has))
                if wants is None and wanted == "granted":  # there was no limit: nothing was promised
                    more = 0
                totals[name], left = has + more, left - more
        return {name: self._at_least_one(name, limit, total) for name, total in totals.items()}

    def _at_least_one(self, name: str, limit: str, total: float | None) -> float | None:
        """A sweep that has just begun cannot have nothing."""
        if total or isinstance(self._shares[name].asked, SharedBudget):
            return total
        return 1e-9 if limit == "cost" else 1

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

    def _time(self, asked: Budget, offset_s: float) -> dict[str, float | None]:
        """When his clock shows this, the experiment's time is used up."""
        if self.budget.time_s is None:
            return {}
        end_s, own_s = max(1e-3, self.budget.time_s + offset_s), asked.time_s
        return {"hours": None, "seconds": end_s if own_s is None else min(own_s, end_s)}


def _is_used_up(asked: Budget, before: Spent, limit: str) -> bool:
    """Whether somebody has spent all that he asks for, and ends by himself."""
    own = getattr(asked, limit)
    return own is not None and own <= getattr(before, limit)
