"""The process pool: runner processes on this machine."""

import os
import selectors
from collections import deque
from pathlib import Path
from time import monotonic, time

from metta.sweep.contracts.attempts import Attempt, AttemptKey, Code
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.events import Reported, TrialEvent
from metta.sweep.runners.outcome import Outcome, reported
from metta.sweep.runners.pool import Pool
from metta.sweep.runners.process import Ending, RunnerProcess
from metta.sweep.runners.slots import MachineSlots

GRACE_S = 10.0
"""An attempt that is told to end has this long to come to a report."""

SLOT_RETRY_S = 0.2
"""How often it is tried to get a slot when other sweeps have taken all of them."""

THREADS = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM")
"""Libraries that start as many threads as there are cores unless ``<NAME>_NUM_THREADS`` says less."""


class ProcessPool(Pool):
    """Persistent runner processes, each of which runs one attempt at a time.

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
        self._max_trials = max_trials_per_process
        self._timeout_s = timeout_s
        self._grace_s = grace_s
        self._environment = {**_threads(max(1, cores // slots)), **os.environ}
        self._machine = MachineSlots(max(cores, slots), machine)
        self._selector = selectors.DefaultSelector()
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._woken, False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._busy: dict[AttemptKey, tuple[RunnerProcess, int]] = {}
        self._deaths_while_starting = 0
        self._closed = False
        self._idle: deque[RunnerProcess] = deque(self._new_runner() for _ in range(slots))

    def free(self) -> int:
        """How many attempts could be started now."""
        return self._machine.reserve(len(self._idle))

    def start(self, attempt: Attempt) -> None:
        """Run an attempt in an idle process."""
        runner = self._idle.popleft()
        self._busy[attempt.key] = runner, self._machine.use()
        runner.run(attempt)

    def answer(self, key: AttemptKey) -> None:
        """Let an attempt go on whose report is recorded."""
        found = self._busy.get(key)
        if found and found[0].waits_for_answer:
            found[0].answer()

    def stop(self, key: AttemptKey) -> None:
        """End an attempt at its report, or by force after the grace time."""
        if found := self._busy.get(key):
            self._end(found[0], "stop")

    def wait(self, timeout_s: float | None) -> list[TrialEvent]:
        """Wait for something to happen, and return all that happened."""
        self._machine.share()
        self.waiting_for = "a free slot: other sweeps use this machine" if self._machine.is_waiting else ""
        events: list[TrialEvent] = []
        for key, _ in self._selector.select(self._patience_s(timeout_s)):
            if key.fd == self._woken:
                os.read(self._woken, 4096)
            elif self._selector.get_map().get(key.fd) is not key:
                pass  # its process was replaced in this round
            elif key.fd != key.data.log:
                events += self._heard(key.data)
            elif not key.data.drain():  # nobody is left who could write
                self._selector.unregister(key.fd)
        self._enforce()
        return events

    def wake(self) -> None:
        """Let ``wait`` return now."""
        if not self._closed:
            os.write(self._waker, b"\0")

    def close(self) -> None:
        """Kill all processes and tell nothing of it."""
        if self._closed:
            return
        self._closed = True
        for runner in [*self._idle, *(runner for runner, _ in self._busy.values())]:
            runner.close()
        self._busy.clear()
        self._machine.close()
        self._selector.close()

    # --- what runners say ---

    def _heard(self, runner: RunnerProcess) -> list[TrialEvent]:
        message = runner.receive()
        match message:
            case None:
                return self._died(runner)
            case ["ready"]:
                runner.has_loaded()
                self._deaths_while_starting = 0
                return []
            case ["unusable", problems]:
                raise DefinitionError(problems, "the objective")
            case ["report", step, metrics, checkpoint]:
                return [self._report(runner, step, metrics, checkpoint)]
            case ["end", *outcome]:
                return [self._ended(runner, Outcome(*outcome))]
            case _:
                raise AssertionError(f"a runner said {message}")

    def _report(
        self, runner: RunnerProcess, step: int, metrics: dict[str, float], checkpoint: str | None
    ) -> Reported:
        runner.waits_for_answer = True
        runner.reports += 1
        return reported(_attempt_of(runner), runner.reports - 1, step, metrics, checkpoint)

    def _ended(self, runner: RunnerProcess, outcome: Outcome) -> TrialEvent:
        """The attempt is over, and its process takes the next one."""
        event = self._event(runner, outcome)
        self._release(runner)
        if self._max_trials is not None and runner.attempts >= self._max_trials:
            self._discard(runner)
            runner = self._new_runner()
        self._idle.append(runner)
        return event

    def _died(self, runner: RunnerProcess) -> list[TrialEvent]:
        """Its attempt, if it had one, has failed; another process takes its place."""
        replacement = self._new_runner()
        if not runner.ready:
            self._count_death(runner)
        attempt, events = runner.attempt, list[TrialEvent]()
        if attempt is None:
            self._idle.remove(runner)
            self._idle.append(replacement)
        elif not runner.ready:  # the attempt has not begun: it is no failure of its own
            self._busy[attempt.key] = replacement, self._busy[attempt.key][1]
            replacement.run(attempt)
        else:
            events.append(self._event(runner, runner.death()))
            self._release(runner)
            self._idle.append(replacement)
        self._discard(runner)
        return events

    def _count_death(self, runner: RunnerProcess) -> None:
        self._deaths_while_starting += 1
        if self._deaths_while_starting >= 2:  # once may be an accident
            problem = f"importing it ends the process: {runner.last_words()}"
            raise DefinitionError([problem], "the objective")

    def _event(self, runner: RunnerProcess, outcome: Outcome) -> TrialEvent:
        runner.drain()  # all that the attempt wrote is in its log before anybody hears of its end
        if runner.ending == "timeout" and outcome.kind != "completed":
            message = f"it took longer than {self._timeout_s:g} s"
            outcome = Outcome("failed", outcome.seconds, failure=("timeout", message, runner.tail))
        elif runner.ending == "stop" and outcome.kind == "failed":
            outcome = Outcome("stopped", outcome.seconds)  # it was killed because it did not report
        return outcome.event(_attempt_of(runner), time())

    def _release(self, runner: RunnerProcess) -> None:
        _, slot = self._busy.pop(_attempt_of(runner).key)
        self._machine.release(slot)
        runner.finished()

    # --- processes ---

    def _new_runner(self) -> RunnerProcess:
        runner = RunnerProcess(self._code, self._environment)
        self._selector.register(runner.connection.fileno(), selectors.EVENT_READ, runner)
        self._selector.register(runner.log, selectors.EVENT_READ, runner)
        return runner

    def _discard(self, runner: RunnerProcess) -> None:
        for descriptor in (runner.connection.fileno(), runner.log):
            if descriptor in self._selector.get_map():
                self._selector.unregister(descriptor)
        runner.close()

    # --- time ---

    def _end(self, runner: RunnerProcess, ending: Ending) -> None:
        runner.end(ending, monotonic() + self._grace_s)

    def _enforce(self) -> None:
        """Tell attempts that their time is up, and kill those that do not listen."""
        now = monotonic()
        for runner, _ in self._busy.values():
            if runner.kill_at is not None and now >= runner.kill_at:
                runner.kill()  # its death is heard of in the next round
            elif self._timeout_s is not None and now >= runner.began + self._timeout_s:
                self._end(runner, "timeout")

    def _patience_s(self, timeout_s: float | None) -> float | None:
        """How long nothing has to be done unless something happens."""
        due_s = [] if timeout_s is None else [timeout_s]
        if self._machine.is_waiting:
            due_s.append(SLOT_RETRY_S)
        now = monotonic()
        for runner, _ in self._busy.values():
            if runner.kill_at is not None:
                due_s.append(runner.kill_at - now)
            elif self._timeout_s is not None:
                due_s.append(runner.began + self._timeout_s - now)
        return max(0.0, min(due_s)) if due_s else None


def _attempt_of(runner: RunnerProcess) -> Attempt:
    assert runner.attempt, "a runner spoke of an attempt that it was not given"
    return runner.attempt


def _threads(count: int) -> dict[str, str]:
    return {f"{name}_NUM_THREADS": str(count) for name in THREADS}
