"""Workers that straggle and lose jobs, in virtual time, and two ways of halving that keep them busy.

References:
    Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020 (arXiv 1810.05934),
    appendix A.1, whose figures these are.
"""

from collections import deque
from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import count
from math import inf
from random import Random
from typing import NamedTuple, Protocol

from metta.sweep.contracts.decisions import Resume
from metta.sweep.contracts.seeds import derived_seed
from metta.sweep.schedulers.asha import ASHAScheduler
from tests.schedulers.ladders import Ladder

ETA, FIRST, LAST = 4, 1, 256
TRIALS = 256
"""In a bracket of synchronous halving; asynchronous halving has no end."""
WORKERS = 25


class Job(NamedTuple):
    """A trial is to be trained from one level to another."""

    trial: int
    begin: int
    end: int


class Halving(Protocol):
    """What decides which job comes next."""

    def next(self) -> Job:
        """A worker is free."""
        ...

    def over(self, job: Job, is_lost: bool) -> None:
        """A job has been done, or was lost."""
        ...


class Asynchronous:
    """Our scheduler, asked and told as a search does it."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._ladder = Ladder(ASHAScheduler(max_epochs=LAST, reduction_factor=ETA, grace_period=FIRST))

    def next(self) -> Job:
        verdict = self._ladder.slot()
        record = self._ladder.table.records[verdict.trial if isinstance(verdict, Resume) else -1]
        return Job(record.number, record.step or 0, record.until_step or LAST)

    def over(self, job: Job, is_lost: bool) -> None:
        if is_lost:
            self._ladder.fail(job.trial)
        else:
            self._ladder.reach(job.trial, loss(self._seed, job.trial))


class Synchronous:
    """The best of a rung go on once all of it is over; a worker that would be idle begins another bracket."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._brackets: list[Bracket] = []

    def next(self) -> Job:
        if bracket := next((b for b in self._brackets if b.waiting), None):
            return bracket.next()
        first = len(self._brackets) * TRIALS
        self._brackets.append(Bracket(range(first, first + TRIALS)))
        return self._brackets[-1].next()

    def over(self, job: Job, is_lost: bool) -> None:
        self._brackets[job.trial // TRIALS].over(job, None if is_lost else loss(self._seed, job.trial))


class Bracket:
    """Synchronous halving of some trials."""

    def __init__(self, trials: Sequence[int]) -> None:
        self.waiting = deque(trials)
        self._size = len(trials)
        self._before, self._level = 0, FIRST
        self._running = 0
        self._done: list[tuple[float, int]] = []

    def next(self) -> Job:
        self._running += 1
        return Job(self.waiting.popleft(), self._before, self._level)

    def over(self, job: Job, loss: float | None) -> None:
        self._running -= 1
        if loss is not None:
            self._done.append((loss, job.trial))
        if not self.waiting and not self._running and self._level < LAST:
            self._before, self._level, self._size = self._level, self._level * ETA, self._size // ETA
            self.waiting.extend(trial for _, trial in sorted(self._done)[: self._size])
            self._done.clear()


def loss(seed: int, trial: int) -> float:
    """How good a trial is, at whatever level."""
    return float(derived_seed(seed, trial, "loss"))


def finished(halving: Halving, sigma: float, drop: float, limit: float, seed: int) -> list[float]:
    """When trials had been trained to the last level.

    Args:
        halving: What decides.
        sigma: A job takes (1 + |z|) times as long as its units, z from a normal distribution of this width.
        drop: Rate at which a job is lost, in a unit of time.
        limit: So long it is looked on.
        seed: Seed of what happens to jobs.
    """
    random, order = Random(seed), count()
    ends: list[tuple[float, int, Job, bool]] = []
    times: list[float] = []
    now = 0.0
    while True:
        while len(ends) < WORKERS:
            job = halving.next()
            duration = (job.end - job.begin) * (1 + abs(random.gauss(0, sigma)))
            lost_after = random.expovariate(drop) if drop else inf
            over_at = now + min(duration, lost_after)
            heappush(ends, (over_at, next(order), job, lost_after < duration))
        now, _, job, is_lost = heappop(ends)
        if now > limit:
            return times
        halving.over(job, is_lost)
        if job.end == LAST and not is_lost:
            times.append(now)
