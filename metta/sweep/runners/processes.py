"""The process pool: runner processes on this machine."""

import os
from collections.abc import Iterator
from contextlib import suppress
from math import inf
from operator import attrgetter
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from socket import socket
from threading import Lock
from time import monotonic
from typing import Any

from metta.sweep.contracts.attempts import Attempt, AttemptKey, Code
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.events import TrialEvent
from metta.sweep.runners.environments import environment
from metta.sweep.runners.events import ended, reported
from metta.sweep.runners.outcome import Outcome
from metta.sweep.runners.pool import Pool
from metta.sweep.runners.process import RunnerProcess
from metta.sweep.runners.slots import MachineSlots

GRACE_S = 10.0
"""An attempt that is told to end has this long to come to a report."""

AHEAD_S = 0.02
"""Attempts that take this long in all may lie ready behind one that runs."""

MAX_AHEAD = 32

LATE_S = 0.1
"""An attempt that was to be short and has run so long does not keep those behind it."""


class ProcessPool(Pool):
    """Persistent runner processes, each of which runs one attempt at a time.

    A process is started when an attempt finds none that is idle.

    Args:
        code: Where the objective is found.
        slots: Attempts that may run at the same time.
        max_trials_per_process: So many attempts a process runs; None means no limit.
        timeout_s: Longest run of an attempt; None means no limit.
        grace_s: Time between asking an attempt to end and killing it.
        machine: The slots shared with other sweeps; None takes those of this machine.
    """

    def __init__(
        self,
        code: Code,
        slots: int,
        max_trials_per_process: int | None = None,
        timeout_s: float | None = None,
        grace_s: float = GRACE_S,
        machine: Path | None = None,
    ) -> None:
        cores = len(os.sched_getaffinity(0))
        self._code = code
        self._slots = slots
        self._max_trials = max_trials_per_process
        self._timeout_s = timeout_s
        self._grace_s = grace_s
        self._environment = environment(max(1, cores // slots))
        self._machine = MachineSlots(max(cores, slots), machine)
        self._selector = DefaultSelector()
        self._wakeups = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector.register(self._wakeups, EVENT_READ)
        self._runners: set[RunnerProcess] = set()
        self._idle: list[RunnerProcess] = []
        self._busy: dict[AttemptKey, RunnerProcess] = {}
        self._returned: list[Attempt] = []
        self._mean_s = inf
        self._events: list[TrialEvent] = []
        self._unusable: DefinitionError | None = None
        self._deaths_while_loading = 0
        self._closed = False
        self._closing = Lock()

    def free(self) -> int:
        """How many attempts could be started now."""
        return self._machine.reserve(self._slots - sum(runner.load > 0 for runner in self._runners))

    def ahead(self) -> int:
        """How many more attempts would lie ready behind running ones, which are short and leave no gap so."""
        if self._mean_s > AHEAD_S or self._machine.is_wanted:
            return 0
        depth = min(MAX_AHEAD, int(AHEAD_S / self._mean_s))
        return sum(max(0, depth - runner.load + 1) for runner in self._takers())

    def start(self, attempt: Attempt) -> None:
        """Run an attempt in an idle process or in a new one, or hand it to one that is busy."""
        if self._machine.at_hand:
            self._machine.use()
            self._run(attempt, self._idle.pop() if self._idle else self._new_runner())
        else:
            # late only since `ahead` was asked: `wait` takes back what waits behind those
            takers = [*self._takers()] or [runner for runner in self._runners if runner.load]
            self._run(attempt, min(takers, key=attrgetter("load")))

    def take_back(self, every: bool = False) -> list[Attempt]:
        """Attempts that were handed over and have not begun."""
        for runner in self._runners if every else ():
            self._take_back(runner)
        taken, self._returned = self._returned, []
        return taken

    def answer(self, key: AttemptKey) -> None:
        """Let an attempt go on whose report is recorded."""
        if runner := self._busy.get(key):
            runner.answer()

    def stop(self, key: AttemptKey) -> None:
        """End an attempt at its report, or by force after the grace time; at once when it has not begun."""
        if runner := self._busy.get(key):
            self._take_back(runner)
            while self._heard(runner):
                pass  # it may have got on to a later attempt than it is known to
        for attempt in self._returned:
            if attempt.key == key:
                self._returned.remove(attempt)
                self._events.append(ended(attempt, Outcome("stopped")))
                return
        if runner := self._busy.get(key):
            runner.end("stop", self._grace_s)

    def wait(self, timeout_s: float | None) -> list[TrialEvent]:
        """Wait for something to happen, and return all that happened."""
        self._machine.rest()
        self.waiting_for = "a free slot: other sweeps use this machine" if self._machine.is_waiting else ""
        for key, _ in self._selector.select(self._patience_s(timeout_s)):
            if key.data is None:
                os.eventfd_read(self._wakeups)
            else:
                hear, runner = key.data
                if runner in self._runners:  # not one that was closed in this round
                    hear(runner)
        self._enforce()
        if self._unusable and not self._events:
            raise self._unusable
        events, self._events = self._events, []
        return events

    def wake(self) -> None:
        """Let ``wait`` return now."""
        with self._closing:  # the descriptor may be another file's after that
            if not self._closed:
                os.eventfd_write(self._wakeups, 1)

    def close(self) -> None:
        """Kill all processes and tell nothing of it."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            os.close(self._wakeups)
        for runner in self._runners:
            runner.kill()
        for runner in self._runners:
            runner.close()
        self._busy.clear()
        self._machine.close()
        self._selector.close()

    # --- attempts that wait behind others ---

    def _takers(self) -> Iterator[RunnerProcess]:
        """Processes that would run another attempt after the one they run."""
        for runner in self._runners:
            is_full = self._max_trials is not None and runner.attempts >= self._max_trials
            is_late = runner.began is None or monotonic() >= runner.began + LATE_S
            if not (is_full or is_late or runner.ending):
                yield runner

    def _take_back(self, runner: RunnerProcess) -> None:
        """Take back what a runner was handed and has not begun."""
        taken = runner.take_back()
        self._returned += taken
        for attempt in taken:
            del self._busy[attempt.key]
        if taken and not runner.load:
            self._machine.release()
            self._idle.append(runner)

    # --- what runners say ---

    def _heard(self, runner: RunnerProcess) -> bool:
        """Take in what a runner says; False when it says nothing."""
        try:
            messages = runner.receive()
        except ValueError:
            messages = [None]
        if messages is None:
            self._forget(runner.connection)
            self._retire(runner)
            runner.lost()
        for message in messages or ():
            self._take(runner, message)
        return bool(messages)

    def _take(self, runner: RunnerProcess, message: Any) -> None:
        match message, runner.attempt:
            case ["ready"], _:
                self._deaths_while_loading = 0
                runner.has_loaded()
            case ["unusable", problems], _:
                self._unusable = DefinitionError(problems, "the objective")
            case ["report" | "last" as kind, step, metrics, checkpoint], Attempt() as attempt:
                self._events.append(reported(attempt, runner.reports, step, metrics, checkpoint))
                runner.has_reported(waits=kind == "report")
            case ["end", *outcome], Attempt() as attempt:
                self._over(runner, attempt, Outcome(*outcome))
                if runner.load:
                    return
                if self._max_trials is None or runner.attempts < self._max_trials:
                    self._idle.append(runner)
                else:
                    runner.kill()
            case _:  # training code has written into the connection, or a process that it has left behind
                self._retire(runner)
                runner.kill()

    def _wrote(self, runner: RunnerProcess) -> None:
        if not runner.output.drain():
            self._forget(runner.output.source)

    def _died(self, runner: RunnerProcess) -> None:
        """An attempt that had begun has failed; one that had not begins in another process."""
        while self._heard(runner):
            pass  # it may have ended its attempt before
        if not runner.ready:
            self._died_while_loading(runner)
        self._take_back(runner)
        if runner.attempt:
            self._over(runner, runner.attempt, runner.outcome())
        self._retire(runner)
        for source in (runner.connection, runner.output.source, runner.death):
            self._forget(source)
        self._runners.remove(runner)
        runner.close()

    def _died_while_loading(self, runner: RunnerProcess) -> None:
        kind, message = runner.cause()
        self._deaths_while_loading += kind != "infra"
        if self._deaths_while_loading >= 2 and self._unusable is None:  # once may be an accident
            problem = f"importing it ends the process: {message}\n{runner.output.tail}".rstrip()
            self._unusable = DefinitionError([problem], "the objective")

    def _over(self, runner: RunnerProcess, attempt: Attempt, outcome: Outcome) -> None:
        runner.output.drain()  # all that it wrote is in its log before anybody hears of its end
        if runner.ending == "timeout" and outcome.kind in ("stopped", "failed"):
            message = f"it took longer than {self._timeout_s:g} s"
            outcome = Outcome("failed", outcome.seconds, failure=("timeout", message, runner.output.tail))
        elif runner.ending == "stop" and outcome.kind == "failed":
            outcome = Outcome("stopped", outcome.seconds)  # it was killed because it did not report
        self._events.append(ended(attempt, outcome))
        # the last few count most: what is short at first may be long later
        known_s = outcome.seconds if self._mean_s == inf else self._mean_s
        self._mean_s = max(1e-6, known_s + (outcome.seconds - known_s) / 4)
        del self._busy[attempt.key]
        runner.finish()
        if not runner.load:
            self._machine.release()

    # --- processes ---

    def _run(self, attempt: Attempt, runner: RunnerProcess) -> None:
        self._busy[attempt.key] = runner
        runner.run(attempt)

    def _new_runner(self) -> RunnerProcess:
        runner = RunnerProcess(self._code, self._environment)
        self._runners.add(runner)
        self._selector.register(runner.connection, EVENT_READ, (self._heard, runner))
        self._selector.register(runner.output.source, EVENT_READ, (self._wrote, runner))
        self._selector.register(runner.death, EVENT_READ, (self._died, runner))
        return runner

    def _retire(self, runner: RunnerProcess) -> None:
        """Give it no more attempts."""
        if runner in self._idle:
            self._idle.remove(runner)

    def _forget(self, source: int | socket) -> None:
        with suppress(KeyError):
            self._selector.unregister(source)

    # --- time ---

    def forgive(self, seconds: float) -> None:
        """See ``Pool.forgive``."""
        for runner in self._runners:
            runner.forgive(seconds)

    def _enforce(self) -> None:
        """Tell attempts that their time is up, and kill those that do not listen."""
        now = monotonic()
        for runner in [*self._runners]:
            due = runner.due(self._timeout_s)
            if due is not None and now >= due:
                if runner.kill_at is None:
                    self._take_back(runner)
                    runner.end("timeout", self._grace_s)
                else:
                    runner.kill()
            if (late := _late(runner)) is not None and now >= late:
                self._take_back(runner)

    def _patience_s(self, timeout_s: float | None) -> float | None:
        """How long nothing has to be done unless something happens."""
        if self._events or self._returned or self._unusable:
            return 0.0
        now = monotonic()
        dues = [due for runner in self._runners for due in (runner.due(self._timeout_s), _late(runner))]
        waits_s = [timeout_s, self._machine.retry_s, *(due - now for due in dues if due is not None)]
        known_s = [wait_s for wait_s in waits_s if wait_s is not None]
        return max(0.0, min(known_s)) if known_s else None


def _late(runner: RunnerProcess) -> float | None:
    """When others are to run what waits behind a runner's attempt; None when nothing does."""
    return runner.began + LATE_S if runner.load > 1 and runner.began is not None else None
