"""Rankings: the best trials without sorting all of them, the commonest failure without counting anew."""

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush
from typing import NamedTuple, TypeAlias

from metta.sweep.contracts.failures import Failure

Rank: TypeAlias = tuple[float, int]
"""Value, turned round where more is better, and number of a trial: the lower the better."""


class LeftOut(Exception):
    """What a snapshot left out is asked for: fold the whole ledger."""


class Ranking:
    """The ranks of those trials that do not run.

    Args:
        ranks: Those that are known, in any order.
        cutoff: Where ranks above this one are not all known, this one; None where all are.
    """

    def __init__(self, ranks: Iterable[Rank] = (), cutoff: Rank | None = None) -> None:
        self._ranks = list(ranks)  # a heap; outdated ones are dropped at its top
        self._cutoff = cutoff
        heapify(self._ranks)

    def add(self, rank: Rank) -> None:
        """Rank a trial; what was said of it before is outdated."""
        heappush(self._ranks, rank)

    def best(self, limit: int, is_current: Callable[[Rank], bool]) -> list[Rank]:
        """The best ones, best first.

        Args:
            limit: So many at most.
            is_current: Whether a rank is still the one of its trial, which does not run.

        Raises:
            LeftOut: When some of them are not known.
        """
        best: list[Rank] = []
        while self._ranks and len(best) < limit and not self._is_beyond(self._ranks[0]):
            rank = heappop(self._ranks)
            if is_current(rank) and rank not in best[-1:]:  # it may stand here twice
                best.append(rank)
        for rank in best:
            heappush(self._ranks, rank)
        if self._cutoff is not None and len(best) < limit:
            raise LeftOut
        return best

    def _is_beyond(self, rank: Rank) -> bool:
        return self._cutoff is not None and rank > self._cutoff


class Counted(NamedTuple):
    """A failure, and how many trials ended with it."""

    failure: Failure
    trials: int


class Failures:
    """How trials failed for good.

    Args:
        counted: Those that are known.
    """

    def __init__(self, counted: Iterable[Counted] = ()) -> None:
        self._counted = {_kind(counted.failure): counted for counted in counted}

    def add(self, failure: Failure) -> None:
        """Count a trial that failed."""
        first, trials = self._counted.get(_kind(failure), Counted(failure, 0))
        self._counted[_kind(failure)] = Counted(first, trials + 1)

    def drop(self, failure: Failure) -> None:
        """Count a trial no more that is tried again."""
        first, trials = self._counted.get(_kind(failure), Counted(failure, 0))
        if trials > 1:
            self._counted[_kind(failure)] = Counted(first, trials - 1)
        else:
            self._counted.pop(_kind(failure), None)

    def commonest(self, limit: int) -> list[Counted]:
        """The commonest ones, those first that most trials share; the earlier one of equals."""
        return sorted(self._counted.values(), key=lambda counted: -counted.trials)[:limit]


def _kind(failure: Failure) -> tuple[str, str]:
    return failure.kind, failure.message
