"""A pool that runs nothing: each attempt does what a script says."""

from collections.abc import Callable, Iterator
from math import inf
from threading import Event as Flag
from time import monotonic, time
from typing import Any, TypeAlias

from metta.sweep.contracts.attempts import Attempt, AttemptKey
from metta.sweep.contracts.events import (
    AttemptEnded,
    Completed,
    Failed,
    Reported,
    SegmentEnded,
    Stopped,
    TrialEvent,
)
from metta.sweep.contracts.failures import Failure, FailureKind
from metta.sweep.runners.pool import Pool

Script: TypeAlias = Callable[[Attempt], Iterator[TrialEvent | None]]
"""What an attempt does, event by event; None is a round in which nothing is heard of it."""

ROUND_S = 0.01


class ScriptedPool(Pool):
    """Plays scripts, one event of each attempt a round.

    A report waits for its answer. An attempt that was told to end does so in its next round.

    Args:
        script: What each attempt does.
        slots: Attempts at the same time.
    """

    room = 0
    """So many attempts lie ready behind those that run."""

    grace_rounds = 0
    """An attempt that is told to end goes on for so many rounds."""

    def __init__(self, script: Script, slots: int = 1) -> None:
        self._script = script
        self._slots = slots
        self._playing: dict[AttemptKey, tuple[Attempt, Iterator[TrialEvent | None]]] = {}
        self._unanswered: set[AttemptKey] = set()
        self._stopping: dict[AttemptKey, int] = {}
        self._woken = Flag()
        self.started: list[Attempt] = []
        self.taken_back: list[Attempt] = []
        self.stopped: list[AttemptKey] = []
        self.answered: list[AttemptKey] = []
        self.on_answer: Callable[[], object] = lambda: None
        self.rounds = 0
        self.waits = 0
        self.wakes = 0
        self.closed = False

    def free(self) -> int:
        return max(0, self._slots - self.busy)

    def ahead(self) -> int:
        return min(self.room, self._slots + self.room - self.busy) if self.busy >= self._slots else 0

    @property
    def busy(self) -> int:
        return len(self._playing)

    def start(self, attempt: Attempt) -> None:
        assert self.free() + self.ahead() > 0
        self.started.append(attempt)
        self._playing[attempt.key] = attempt, self._script(attempt)

    def take_back(self, every: bool = False) -> list[Attempt]:
        behind = [attempt for attempt, _ in self._playing.values()][self._slots :] if every else []
        for attempt in behind:
            del self._playing[attempt.key]
        self.taken_back += behind
        return behind

    def answer(self, key: AttemptKey) -> None:
        self.answered.append(key)
        self.on_answer()
        self._unanswered.discard(key)

    def stop(self, key: AttemptKey) -> None:
        self.stopped.append(key)
        self._stopping[key] = self.rounds + self.grace_rounds

    def wait(self, timeout_s: float | None) -> list[TrialEvent]:
        self.waits += 1
        deadline = monotonic() + (60 if timeout_s is None else timeout_s)
        while True:
            self.rounds += 1
            events = [event for key in list(self._playing) if (event := self._next(key))]
            left_s = deadline - monotonic()
            if events or left_s <= 0 or self._woken.wait(min(left_s, ROUND_S)):
                self._woken.clear()
                return events

    def _next(self, key: AttemptKey) -> TrialEvent | None:
        if key in self._unanswered:
            return None
        attempt, script = self._playing[key]
        is_up = self.rounds >= self._stopping.get(key, inf)
        event = Stopped(**of(attempt)) if is_up else next(script)
        if isinstance(event, Reported):
            self._unanswered.add(key)
        elif event:
            del self._playing[key]
        return event

    def wake(self) -> None:
        self.wakes += 1
        self._woken.set()

    def close(self) -> None:
        self.closed = True
        self._playing.clear()


def of(attempt: Attempt) -> dict[str, Any]:
    return {"at": time(), **attempt.key._asdict()}


def report(attempt: Attempt, step: int, acc: float = 0.5, checkpoint: str | None = None) -> Reported:
    return Reported(**of(attempt), seq=step - 1, step=step, metrics={"acc": acc}, checkpoint=checkpoint)


def complete(attempt: Attempt, acc: float = 0.5) -> Completed:
    return Completed(**of(attempt), metrics={"acc": acc})


def fail(attempt: Attempt, kind: FailureKind = "user") -> Failed:
    return Failed(**of(attempt), failure=Failure(kind=kind, message="boom"))


def pause(attempt: Attempt, step: int, checkpoint: str | None = None) -> SegmentEnded:
    return SegmentEnded(**of(attempt), step=step, checkpoint=checkpoint)


def succeeds(attempt: Attempt) -> Iterator[AttemptEnded | None]:
    """A trial without reports."""
    yield complete(attempt, acc=float(attempt.trial))


def hangs(attempt: Attempt) -> Iterator[AttemptEnded | None]:
    """A trial that is heard of no more, unless it is told to end."""
    while True:
        yield None
