"""Rungs: who has come how far, and how good they were there."""

from bisect import bisect_left, insort
from collections.abc import Callable
from heapq import heappop, heappush
from typing import NamedTuple


class Entry(NamedTuple):
    """A trial at a rung; the smaller one is better, the earlier one of equals."""

    loss: float
    trial: int


class Rung:
    """All trials that have come to one level of resource, best first.

    Args:
        level: The resource, in steps.
    """

    def __init__(self, level: int) -> None:
        self.level = level
        self._entries: list[Entry] = []
        self._waiting: list[tuple[Entry, int]] = []

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: Entry) -> int:
        """Add a trial.

        Returns:
            Its rank, from 1 for the best.
        """
        insort(self._entries, entry)
        return self.rank(entry)

    def rank(self, entry: Entry) -> int:
        """Rank of a trial among all that have come here, from 1 for the best."""
        return bisect_left(self._entries, entry) + 1

    def wait(self, entry: Entry, segment: int) -> None:
        """A trial of this rung is paused here, at the end of a segment, and could be promoted."""
        heappush(self._waiting, (entry, segment))

    def waiting(self, most: int, is_paused: Callable[[int, int], bool]) -> list[Entry]:
        """The best of those that wait; forgets those that wait no more.

        Args:
            most: So many at the most.
            is_paused: Whether a trial still stands at the end of a segment.
        """
        found: list[tuple[Entry, int]] = []
        while self._waiting and len(found) < most:
            entry, segment = heappop(self._waiting)
            if is_paused(entry.trial, segment):
                found.append((entry, segment))
        for waiting in found:
            heappush(self._waiting, waiting)
        return [entry for entry, _ in found]


def levels(first: int, last: int, factor: int) -> list[int]:
    """First, first * factor, and so on, below ``last``; then ``last``.

    By multiplication alone: a logarithm is one rung short for ``(3, 243)`` and ``(10, 1000)``.

    >>> levels(1, 243, 3), levels(1, 100, 3)
    ([1, 3, 9, 27, 81, 243], [1, 3, 9, 27, 81, 100])
    """
    found = [first]
    while found[-1] < last:
        found.append(min(found[-1] * factor, last))
    return found
