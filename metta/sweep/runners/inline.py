"""The inline pool: trials run in the calling thread, so that prints and breakpoints work."""

import sys
from collections.abc import Callable
from functools import partial
from queue import Empty, Queue
from typing import Any

from metta.sweep.contracts.attempts import Attempt, AttemptKey
from metta.sweep.contracts.events import Reported, TrialEvent
from metta.sweep.contracts.trials import Trial
from metta.sweep.runners.events import ended, reported
from metta.sweep.runners.outcome import Answer, outcome_of
from metta.sweep.runners.pool import Pool


class InlinePool(Pool):
    """One slot. ``serve`` runs attempts in its caller's thread, a session drives the pool in another.

    Args:
        call: The objective.
    """

    def __init__(self, call: Callable[[Trial], Any]) -> None:
        self._call = call
        self._attempts: Queue[Attempt | None] = Queue()
        self._answers: Queue[Answer] = Queue()
        self._events: Queue[TrialEvent | None] = Queue()
        self._current: AttemptKey | None = None
        self._stopping = False
        self._waits = False
        self._reports = 0

    def serve(self) -> None:
        """Run attempts until the pool is closed."""
        while attempt := self._attempts.get():
            self._reports = 0
            outcome = outcome_of(attempt, self._call, partial(self._send, attempt))
            if outcome.failure:  # whoever debugs wants to see it now
                _, message, traceback = outcome.failure
                print(f"trial {attempt.trial} failed: {message}\n{traceback}".rstrip(), file=sys.stderr)
            self._events.put(ended(attempt, outcome))

    def free(self) -> int:
        """One, when nothing runs."""
        return int(self._current is None)

    def start(self, attempt: Attempt) -> None:
        """Hand an attempt to ``serve``."""
        self._current, self._stopping = attempt.key, False
        self._attempts.put(attempt)

    def answer(self, key: AttemptKey) -> None:
        """Let the attempt go on."""
        if key == self._current and self._waits:
            self._waits = False
            self._answers.put("stop" if self._stopping else "go")

    def stop(self, key: AttemptKey) -> None:
        """End the attempt at its report; in one's own thread nothing can be killed."""
        self._stopping = self._stopping or key == self._current

    def wait(self, timeout_s: float | None) -> list[TrialEvent]:
        """Wait for the next event."""
        try:
            event = self._events.get(timeout=timeout_s)
        except Empty:
            return []
        if event is None:
            return []
        if not isinstance(event, Reported):
            self._current = None
        return [event]

    def wake(self) -> None:
        """Let ``wait`` return now."""
        self._events.put(None)

    def close(self) -> None:
        """Let ``serve`` return after the attempt that it runs."""
        self._attempts.put(None)
        self._answers.put("stop")

    def _send(
        self, attempt: Attempt, step: int, metrics: dict[str, float], checkpoint: str | None, is_last: bool
    ) -> Answer:
        self._waits = not is_last
        self._events.put(reported(attempt, self._reports, step, metrics, checkpoint))
        self._reports += 1
        return "go" if is_last else self._answers.get()
