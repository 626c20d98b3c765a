"""A runner process, as the pool sees it."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO, Literal

from metta.sweep.contracts.attempts import Attempt, Code
from metta.sweep.contracts.failures import FailureKind
from metta.sweep.runners.failures import TRACEBACK_CHARS
from metta.sweep.runners.outcome import Outcome

LOG = "log.txt"

READ_BYTES = 1 << 16
"""As much as a pipe holds, so that one read gets all that was written before."""

LOST_S = 1.0
"""A process that closed its connection is about to die, or else is killed after this time."""

GONE_S = 10.0
"""So long is waited for the end of a process that was killed."""

VMSTAT = Path("/proc/vmstat")

FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
"""Signals that people and machines send to end a process; training code dies of other ones."""

Ending = Literal["stop", "timeout"]


class RunnerProcess:
    """One runner process: its connection, its output, and the attempt that it runs.

    Args:
        code: Where the objective is found.
        environment: Environment of the process.
    """

    def __init__(self, code: Code, environment: Mapping[str, str]) -> None:
        self.connection, theirs = socket.socketpair()
        life, self._life = os.pipe()
        self.output, output = os.pipe()
        os.set_blocking(self.output, False)
        self._process = subprocess.Popen(
            # -P: what lies about in the working directory must not stand in for Python's own modules
            [sys.executable, "-P", "-m", "metta.sweep.runners.runner", str(theirs.fileno()), str(life)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(theirs.fileno(), life),
            env=dict(environment),
            start_new_session=True,  # a group of its own, so that its children can be killed with it
        )
        theirs.close()
        os.close(life)
        os.close(output)
        # the connection does not tell of its death: children that it has forked hold that open, too
        self.death = os.pidfd_open(self._process.pid)
        self._received = b""
        self.ready = False
        self.attempt: Attempt | None = None
        self.attempts = 0
        self.reports = 0
        self.ending: Ending | None = None
        self.began: float | None = None
        self.kill_at: float | None = None
        self._waits_since: float | None = None
        self._killed = False
        self._ooms = oom_kills_lately()
        self._log_file: BinaryIO | None = None
        self._tail = b""
        self._say(code.model_dump_json().encode())

    # --- talking ---

    def run(self, attempt: Attempt) -> None:
        """Hand over an attempt; it begins as soon as the objective is loaded."""
        self.attempt, self.attempts, self.reports = attempt, self.attempts + 1, 0
        if self.ready:
            self._begin(attempt)

    def has_loaded(self) -> None:
        """The objective is loaded."""
        self.ready = True
        if self.attempt:
            self._begin(self.attempt)

    def _begin(self, attempt: Attempt) -> None:
        self.drain()  # what came after the attempt before belongs to nobody
        self._tail = b""
        self.began, self._ooms = monotonic(), oom_kills_lately()
        self._say(attempt.model_dump_json().encode())

    def waits(self) -> None:
        """The attempt has reported, and waits for the answer."""
        self.reports += 1
        self._waits_since = monotonic()

    def answer(self) -> None:
        """Answer the report, if the attempt waits for that."""
        if self._waits_since is None:
            return
        if self.began is not None:  # the time that recording took is not the attempt's
            self.began += monotonic() - self._waits_since
        self._waits_since = None
        self._say(b"stop" if self.ending else b"go")

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

    def _say(self, line: bytes) -> None:
        # when it has died, that is noticed by itself
        with suppress(ConnectionError):
            self.connection.sendall(line + b"\n")

    # --- output ---

    def drain(self) -> bool:
        """Append what the attempt has written to its log; False when the output is closed."""
        try:
            data = os.read(self.output, READ_BYTES)
        except BlockingIOError:
            return True
        self._tail = (self._tail + data)[-TRACEBACK_CHARS:]
        if data and self.began is not None and self.attempt:
            self._write(self.attempt, data)
        return bool(data)

    def _write(self, attempt: Attempt, data: bytes) -> None:
        with suppress(OSError):  # a full disk leaves a gap in the log, and does not end the trial
            if self._log_file is None:
                path = Path(attempt.folder) / LOG
                path.parent.mkdir(parents=True, exist_ok=True)
                self._log_file = path.open("ab", buffering=0)
            self._log_file.write(data)

    @property
    def tail(self) -> str:
        """The end of what it wrote."""
        return self._tail.decode(errors="replace")

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
        """The attempt is over; the next one has a log and an ending of its own."""
        if self._log_file:
            self._log_file.close()
        self.attempt, self._log_file, self._waits_since = None, None, None
        self.began, self.ending, self.kill_at = None, None, None

    def close(self) -> None:
        """Kill it, wait until it is gone, and give everything back."""
        self._kill_group()
        with suppress(subprocess.TimeoutExpired):  # a driver that hangs keeps it for ever
            self._process.wait(GONE_S)
        self.finish()
        self.connection.close()
        for descriptor in (self.output, self.death, self._life):
            os.close(descriptor)

    def outcome(self) -> Outcome:
        """What its death says of its attempt."""
        seconds = 0.0 if self.began is None else monotonic() - self.began
        return Outcome("failed", seconds, failure=(*self.cause(), self.tail))

    def cause(self) -> tuple[FailureKind, str]:
        """Why it has died; its children are killed, too."""
        self._kill_group()
        status = self._process.wait()
        self.drain()
        if status >= 0:
            return "user", f"the process exited with code {status}"
        if self._killed:
            return "user", "the process broke its connection, and was killed"
        if -status not in FROM_OUTSIDE:
            return "user", f"the process died of signal {-status} ({signal.strsignal(-status)})"
        if status == -signal.SIGKILL and oom_kills() > self._ooms:
            return "oom", "the kernel killed the process because memory ran out"
        return "infra", f"somebody killed the process with {signal.Signals(-status).name}"

    def _kill_group(self) -> None:
        # its number is its own until somebody has waited for it; then the group may be another's
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)


def oom_kills() -> int:
    """How many processes the kernel has killed for want of memory since it was started."""
    if not VMSTAT.exists():
        return 0
    _, _, rest = VMSTAT.read_text().partition("\noom_kill ")
    return int(rest.partition("\n")[0] or 0)


def oom_kills_lately() -> int:
    """That number of half a second ago at most: reading it takes as long as a short trial."""
    return _oom_kills_at(int(2 * monotonic()))


@lru_cache(maxsize=1)
def _oom_kills_at(half_second: int) -> int:
    return oom_kills()
