"""The process pool: runner processes on this machine."""

import os
from contextlib import suppress
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from socket import socket
from threading import Lock
from time import monotonic
from typing import Any

from metta.sweep.contracts.attempts import Attempt, AttemptKey, Code
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.events import TrialEvent
from metta.sweep.runners.events import ended, reported
from metta.sweep.runners.outcome import Outcome
from metta.sweep.runners.pool import Pool
from metta.sweep.runners.process import RunnerProcess
from metta.sweep.runners.slots import MachineSlots

GRACE_S = 10.0
"""An attempt that is told to end has this long to come to a report."""

THREADS = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM")
"""Libraries that start as many threads as there are cores unless ``<NAME>_NUM_THREADS`` says less."""


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
        self._environment = {**_threads(max(1, cores // slots)), **os.environ}
        self._machine = MachineSlots(max(cores, slots), machine)
        self._selector = DefaultSelector()
        self._wakeups = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector.register(self._wakeups, EVENT_READ)
        self._runners: set[RunnerProcess] = set()
        self._idle: list[RunnerProcess] = []
        self._busy: dict[AttemptKey, RunnerProcess] = {}
        self._events: list[TrialEvent] = []
        self._unusable: DefinitionError | None = None
        self._deaths_while_loading = 0
        self._closed = False
        self._closing = Lock()

    def free(self) -> int:
        """How many attempts could be started now."""
        return self._machine.reserve(self._slots - len(self._busy))

    def start(self, attempt: Attempt) -> None:
        """Run an attempt in an idle process, or in a new one."""
        self._machine.use()
        self._run(attempt, self._idle.pop() if self._idle else self._new_runner())

    def answer(self, key: AttemptKey) -> None:
        """Let an attempt go on whose report is recorded."""
        if runner := self._busy.get(key):
            runner.answer()

    def stop(self, key: AttemptKey) -> None:
        """End an attempt at its report, or by force after the grace time; at once when it has not begun."""
        runner = self._busy.get(key)
        if runner is None or runner.attempt is None:
            return
        if runner.began is None:
            self._over(runner, runner.attempt, Outcome("stopped"))
            self._idle.append(runner)
        else:
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
            case ["report", step, metrics, checkpoint], Attempt() as attempt:
                self._events.append(reported(attempt, runner.reports, step, metrics, checkpoint))
                runner.waits()
            case ["end", *outcome], Attempt() as attempt:
                self._over(runner, attempt, Outcome(*outcome))
                if self._max_trials is None or runner.attempts < self._max_trials:
                    self._idle.append(runner)
                else:
                    runner.kill()
            case _:  # training code has written into the connection, or a process that it has left behind
                self._retire(runner)
                runner.kill()

    def _wrote(self, runner: RunnerProcess) -> None:
        if not runner.drain():
            self._forget(runner.output)

    def _died(self, runner: RunnerProcess) -> None:
        """An attempt that had begun has failed; one that had not begins in another process."""
        while self._heard(runner):
            pass  # it may have ended its attempt before
        if not runner.ready:
            self._died_while_loading(runner)
        if runner.attempt and runner.began is not None:
            self._over(runner, runner.attempt, runner.outcome())
        elif runner.attempt and not self._unusable:
            self._run(runner.attempt, self._new_runner())
        self._retire(runner)
        for source in (runner.connection, runner.output, runner.death):
            self._forget(source)
        self._runners.remove(runner)
        runner.close()

    def _died_while_loading(self, runner: RunnerProcess) -> None:
        kind, message = runner.cause()
        self._deaths_while_loading += kind != "infra"
        if self._deaths_while_loading >= 2 and self._unusable is None:  # once may be an accident
            problem = f"importing it ends the process: {message}\n{runner.tail}".rstrip()
            self._unusable = DefinitionError([problem], "the objective")

    def _over(self, runner: RunnerProcess, attempt: Attempt, outcome: Outcome) -> None:
        runner.drain()  # all that the attempt wrote is in its log before anybody hears of its end
        if runner.ending == "timeout" and outcome.kind in ("stopped", "failed"):
            message = f"it took longer than {self._timeout_s:g} s"
            outcome = Outcome("failed", outcome.seconds, failure=("timeout", message, runner.tail))
        elif runner.ending == "stop" and outcome.kind == "failed":
            outcome = Outcome("stopped", outcome.seconds)  # it was killed because it did not report
        self._events.append(ended(attempt, outcome))
        del self._busy[attempt.key]
        self._machine.release()
        runner.finish()

    # --- processes ---

    def _run(self, attempt: Attempt, runner: RunnerProcess) -> None:
        self._busy[attempt.key] = runner
        runner.run(attempt)

    def _new_runner(self) -> RunnerProcess:
        runner = RunnerProcess(self._code, self._environment)
        self._runners.add(runner)
        self._selector.register(runner.connection, EVENT_READ, (self._heard, runner))
        self._selector.register(runner.output, EVENT_READ, (self._wrote, runner))
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

    def _enforce(self) -> None:
        """Tell attempts that their time is up, and kill those that do not listen."""
        now = monotonic()
        for runner in self._runners:
            due = runner.due(self._timeout_s)
            if due is not None and now >= due:
                if runner.kill_at is None:
                    runner.end("timeout", self._grace_s)
                else:
                    runner.kill()

    def _patience_s(self, timeout_s: float | None) -> float | None:
        """How long nothing has to be done unless something happens."""
        if self._events or self._unusable:
            return 0.0
        now = monotonic()
        dues = [runner.due(self._timeout_s) for runner in self._runners]
        waits_s = [timeout_s, self._machine.retry_s, *(due - now for due in dues if due is not None)]
        known_s = [wait_s for wait_s in waits_s if wait_s is not None]
        return max(0.0, min(known_s)) if known_s else None


def _threads(count: int) -> dict[str, str]:
    return {f"{name}_NUM_THREADS": str(count) for name in THREADS}
