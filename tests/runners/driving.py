"""Driving a pool by hand, as a session does, without a ledger."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import psutil

from metta.sweep.contracts.attempts import Attempt, AttemptKey, Code
from metta.sweep.contracts.events import AttemptEnded, Failed, Reported, TrialEvent
from metta.sweep.contracts.failures import Failure
from metta.sweep.runners.pool import Pool
from metta.sweep.runners.processes import ProcessPool

ROOT = Path(__file__).parents[2]

PATIENCE_S = 40.0
"""A busy machine has done it by then, or it hangs."""


class Driver:
    """Starts attempts, and takes events one by one."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._events: deque[TrialEvent] = deque()
        self._waiting: deque[Attempt] = deque()

    def next(self) -> TrialEvent:
        """The next event, whenever it comes."""
        deadline = monotonic() + PATIENCE_S
        while not self._events:
            assert monotonic() < deadline, "nothing happens any more"
            self._feed()
            self._events += self.pool.wait(1.0)
        return self._events.popleft()

    def start(self, attempt: Attempt) -> AttemptKey:
        """Start an attempt, at the latest when the next event is asked for and there is a slot."""
        self._waiting.append(attempt)
        self._feed()
        return attempt.key

    def _feed(self) -> None:
        self._waiting.extendleft(reversed(self.pool.take_back()))
        for _ in range(min(len(self._waiting), self.pool.free())):
            self.pool.start(self._waiting.popleft())

    def run(self, *attempts: Attempt) -> dict[int, AttemptEnded]:
        """Run attempts to their ends, and answer their reports."""
        ends: dict[int, AttemptEnded] = {}
        self._waiting += attempts
        while len(ends) < len(attempts):
            event = self.next()
            if isinstance(event, Reported):
                self.pool.answer(key_of(event))
            else:
                assert event.trial not in ends, "an attempt ended twice"
                ends[event.trial] = event
        return ends

    def end(self) -> AttemptEnded:
        """The end of the one attempt that runs; its reports are answered."""
        while isinstance(event := self.next(), Reported):
            self.pool.answer(key_of(event))
        return event

    def hung(self, attempt: Attempt) -> list[int]:
        """Start an attempt of ``hangs``, and let it hang; returns all of its processes."""
        self.start(attempt)
        event = self.next()
        assert isinstance(event, Reported)
        self.pool.answer(key_of(event))
        return [int(pid) for pid in event.metrics.values()]


@contextmanager
def driving(code: Code, slots: int = 1, **options: Any) -> Iterator[Driver]:
    """A driver of a pool of its own."""
    pool = ProcessPool(code, slots, **options)
    try:
        yield Driver(pool)
    finally:
        pool.close()


def code(name: str, **more: Any) -> Code:
    """One of our objectives; it runs in the current folder."""
    return Code(objective=f"tests.runners.objectives:{name}", cwd=str(Path.cwd()), path=(str(ROOT),), **more)


def code_here(objective: str) -> Code:
    """An objective of the current folder."""
    return Code(objective=objective, cwd=str(Path.cwd()), path=(str(Path.cwd()),))


def attempt(number: int = 0, **params: Any) -> Attempt:
    """An attempt whose folder lies below the current one."""
    return Attempt(trial=number, params=params, seed=number, folder=str(folder_of(number)))


def folder_of(number: int) -> Path:
    return Path.cwd() / "trials" / str(number)


def key_of(event: TrialEvent) -> AttemptKey:
    return AttemptKey(event.trial, event.segment, event.attempt)


def failure_in(event: TrialEvent) -> Failure:
    assert isinstance(event, Failed), event
    return event.failure


def are_gone(pids: list[int], patience_s: float = PATIENCE_S) -> bool:
    """Whether processes have ended, after a while to do so."""
    deadline = monotonic() + patience_s
    while alive := [pid for pid in pids if _is_alive(pid)]:
        if monotonic() > deadline:
            return False
        sleep(0.05)
    return not alive


def _is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
