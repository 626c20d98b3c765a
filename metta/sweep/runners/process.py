"""A runner process, as the pool sees it."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic
from typing import Any, Literal

from metta.sweep.contracts.attempts import Attempt, Code
from metta.sweep.contracts.failures import FailureKind
from metta.sweep.runners.backlog import Backlog
from metta.sweep.runners.deaths import cause_of, oom_kills_lately
from metta.sweep.runners.outcome import Outcome
from metta.sweep.runners.output import Output

READ_BYTES = 1 << 16

LOST_S = 1.0
"""A process that closed its connection is about to die, or else is killed after this time."""

GONE_S = 10.0
"""So long is waited for the end of a process that was killed."""

Ending = Literal["stop", "timeout"]


class RunnerProcess:
    """One runner process: its connection, its output, and the attempts that it was handed.

    Args:
        code: Where the objective is found.
        environment: Environment of the process.
    """

    def __init__(self, code: Code, environment: Mapping[str, str]) -> None:
        self.connection, theirs = socket.socketpair()
        life, self._life = os.pipe()
        self.output = Output()
        self._backlog = Backlog()
        passed = (theirs.fileno(), self._backlog.theirs.fileno(), life)
        self._process = subprocess.Popen(
            # -P: what lies about in the working directory must not stand in for Python's own modules
            [sys.executable, "-P", "-m", "metta.sweep.runners.runner", *map(str, passed)],
            stdin=subprocess.DEVNULL,
            stdout=self.output.theirs,
            stderr=self.output.theirs,
            pass_fds=passed,
            env=dict(environment),
            start_new_session=True,  # a group of its own, so that its children can be killed with it
        )
        theirs.close()
        os.close(life)
        os.close(self.output.theirs)
        # the connection does not tell of its death: children that it has forked hold that open, too
        self.death = os.pidfd_open(self._process.pid)
        self._received = b""
        self.ready = False
        self.attempts = 0
        self.reports = 0
        self.ending: Ending | None = None
        self.began: float | None = None
        self.kill_at: float | None = None
        self._waits_since: float | None = None
        self._killed = False
        self._ooms = oom_kills_lately()
        self._say(code.model_dump_json())
        self._say(self.output.mark)

    @property
    def attempt(self) -> Attempt | None:
        """The attempt that it runs, or will run as soon as its objective is loaded."""
        return self._backlog.first

    @property
    def load(self) -> int:
        """How many attempts it has been handed and has not ended."""
        return len(self._backlog)

    # --- talking ---

    def run(self, attempt: Attempt) -> None:
        """Hand over an attempt; it begins when the objective is loaded and the ones before have ended."""
        self.attempts += 1
        self.output.expect(attempt)
        self._backlog.put(attempt)
        if self.ready and self.load == 1:
            self._begin()

    def take_back(self) -> list[Attempt]:
        """Take back the attempts that have not begun."""
        taken = self._backlog.take_back()
        self.output.forget(taken)
        self.attempts -= len(taken)
        if not self.load:
            self.began = None
        return taken

    def has_loaded(self) -> None:
        """The objective is loaded."""
        self.ready = True
        if self.load:
            self._begin()

    def _begin(self) -> None:
        self.began, self._ooms, self.reports = monotonic(), oom_kills_lately(), 0

    def has_reported(self, waits: bool) -> None:
        """The attempt has reported, and perhaps waits for the answer."""
        self.reports += 1
        self._waits_since = monotonic() if waits else None

    def forgive(self, seconds: float) -> None:
        """Take time off the attempt, unless it waits for an answer anyway."""
        if self.began is not None and self._waits_since is None:
            self.began += seconds

    def answer(self) -> None:
        """Answer the report, if the attempt waits for that."""
        if self._waits_since is None:
            return
        if self.began is not None:  # the time that recording took is not the attempt's
            self.began += monotonic() - self._waits_since
        self._waits_since = None
        self._say("stop" if self.ending else "go")

    def end(self, ending: Ending, grace_s: float) -> None:
        """End the attempt at its next report, or, when that does not come in time, by force."""
        if self.ending is None:
            self.ending, self.kill_at = ending, monotonic() + grace_s

    def receive(self) -> list[Any] | None:
        """What it says; None when it will not say any more.

        Raises:
            ValueError: When it says something that no runner says.
        """
        try:
            data = self.connection.recv(READ_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        except ConnectionError:
            return None
        if not data:
            return None
        *lines, self._received = (self._received + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def _say(self, line: str) -> None:
        # when it has died, that is noticed by itself
        with suppress(ConnectionError):
            self.connection.sendall(line.encode() + b"\n")

    # --- ending ---

    def due(self, timeout_s: float | None) -> float | None:
        """When the attempt is to be told to end, or to be killed.

        Nothing is due while it waits for an answer, for its objective to be loaded, or for its death.
        """
        if self._killed or self._waits_since is not None:
            return None
        if self.kill_at is None and self.began is not None and timeout_s is not None:
            return self.began + timeout_s
        return self.kill_at

    def lost(self) -> None:
        """It will not say any more: it is about to die, or to be killed."""
        self.kill_at = monotonic() + LOST_S

    def kill(self) -> None:
        """Kill it and its children; its death is heard of later."""
        self._killed = True
        self._kill_group()

    def finish(self) -> None:
        """The attempt is over; the next one, if there is one, has begun."""
        self._backlog.end()
        self._waits_since, self.began, self.ending, self.kill_at = None, None, None, None
        if self.load:
            self._begin()

    def close(self) -> None:
        """Kill it, wait until it is gone, and give everything back."""
        self._kill_group()
        with suppress(subprocess.TimeoutExpired):  # a driver that hangs keeps it for ever
            self._process.wait(GONE_S)
        self._backlog.close()
        self.output.close()
        self.connection.close()
        for descriptor in (self.death, self._life):
            os.close(descriptor)

    def outcome(self) -> Outcome:
        """What its death says of its attempt."""
        seconds = 0.0 if self.began is None else monotonic() - self.began
        return Outcome("failed", seconds, failure=(*self.cause(), self.output.tail))

    def cause(self) -> tuple[FailureKind, str]:
        """Why it has died; its children are killed, too."""
        self._kill_group()
        status = self._process.wait()
        self.output.drain()
        if status < 0 and self._killed:
            return "user", "the process broke its connection, and was killed"
        return cause_of(status, self._ooms)

    def _kill_group(self) -> None:
        # its number is its own until somebody has waited for it; then the group may be another's
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
