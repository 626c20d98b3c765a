"""A runner process, as the pool sees it."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO, Literal

from metta.sweep.contracts.attempts import Attempt, Code
from metta.sweep.contracts.failures import FailureKind
from metta.sweep.runners.outcome import TRACEBACK_CHARS, Outcome

LOG = "log.txt"
READ_BYTES = 1 << 16
VMSTAT = Path("/proc/vmstat")

Ending = Literal["stop", "timeout"]


class RunnerProcess:
    """One runner process: its connection, its output, and the attempt that it runs.

    Args:
        code: Where the objective is found.
        environment: Environment of the process.
    """

    def __init__(self, code: Code, environment: Mapping[str, str]) -> None:
        ours, theirs = socket.socketpair()
        life, self._life = os.pipe()
        self.log, output = os.pipe()
        os.set_blocking(self.log, False)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "metta.sweep.runners.runner", str(theirs.fileno()), str(life)],
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
        self.connection = Connection(ours.detach())
        self._send(code.model_dump(mode="json"))
        self.ready = False
        self.attempt: Attempt | None = None
        self.attempts = 0
        self.reports = 0
        self.waits_for_answer = False
        self.ending: Ending | None = None
        self.began = 0.0
        self.kill_at: float | None = None
        self._killed = False
        self._ooms = 0
        self._log_file: BinaryIO | None = None
        self._tail = b""

    # --- talking ---

    def run(self, attempt: Attempt) -> None:
        """Hand over an attempt; the process may still be starting."""
        self.attempt, self.attempts, self.reports = attempt, self.attempts + 1, 0
        self.ending, self.kill_at, self._tail = None, None, b""
        self.began, self._ooms = monotonic(), oom_kills()
        self._send(["run", attempt.model_dump(mode="json")])

    def has_loaded(self) -> None:
        """The objective is loaded: the clock of an attempt that waits for that starts now."""
        self.ready, self.began = True, monotonic()

    def answer(self) -> None:
        """Answer the report that the attempt waits for."""
        self.waits_for_answer = False
        self._send(["stop" if self.ending else "go"])

    def end(self, ending: Ending, kill_at: float) -> None:
        """End the attempt at its report, or, when that does not come in time, by force."""
        if self.ending is None:
            self.ending, self.kill_at = ending, kill_at
            if self.waits_for_answer:
                self.answer()

    def receive(self) -> list[Any] | None:
        """The next message, or None when the process is gone."""
        try:
            message: list[Any] = json.loads(self.connection.recv_bytes())
        except (EOFError, ConnectionError):
            return None
        return message

    def _send(self, message: object) -> None:
        # when it has died, the end of its connection is read next, and tells
        with suppress(ConnectionError):
            self.connection.send_bytes(json.dumps(message).encode())

    # --- output ---

    def drain(self) -> bool:
        """Append what the attempt has written to its log; False when the output is closed."""
        while True:
            try:
                data = os.read(self.log, READ_BYTES)
            except BlockingIOError:
                return True
            if not data:
                return False
            self._tail = (self._tail + data)[-TRACEBACK_CHARS:]
            if self.attempt:  # what is written while nothing runs is nobody's
                self._write(self.attempt, data)

    def _write(self, attempt: Attempt, data: bytes) -> None:
        if self._log_file is None:
            path = Path(attempt.folder) / LOG
            path.parent.mkdir(parents=True, exist_ok=True)
            self._log_file = path.open("ab", buffering=0)
        self._log_file.write(data)

    def finished(self) -> None:
        """The attempt is over: the next one has a log of its own."""
        self.drain()
        if self._log_file:
            self._log_file.close()
        self.attempt, self._log_file, self.kill_at, self.waits_for_answer = None, None, None, False

    @property
    def tail(self) -> str:
        """The end of what it wrote."""
        return self._tail.decode(errors="replace")

    # --- ending ---

    def kill(self) -> None:
        """Kill it and its children."""
        self._killed = True
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill it and give everything back."""
        self.kill()
        self._process.wait()
        self.finished()
        self.connection.close()
        os.close(self.log)
        os.close(self._life)

    def death(self) -> Outcome:
        """What the death of the process says of its attempt."""
        status = self._process.wait()
        self.drain()
        kind, message = self._cause(status)
        return Outcome("failed", monotonic() - self.began, failure=(kind, message, self.tail))

    def last_words(self) -> str:
        """How it died while it was starting, and the end of its output."""
        message = self._cause(self._process.wait())[1]
        self.drain()
        return f"{message}\n{self.tail}".rstrip()

    def _cause(self, status: int) -> tuple[FailureKind, str]:
        if status >= 0:
            return "user", f"the process exited with code {status} before the trial had ended"
        name = signal.Signals(-status).name
        if status != -signal.SIGKILL or self._killed:
            return "user", f"the process died of {name}"
        if oom_kills() > self._ooms:
            return "oom", "the kernel killed the process because memory ran out"
        return "infra", "somebody killed the process with SIGKILL"


def oom_kills() -> int:
    """How many processes the kernel has killed for want of memory since it was started."""
    if not VMSTAT.exists():
        return 0
    line = next((line for line in VMSTAT.read_text().splitlines() if line.startswith("oom_kill ")), "x 0")
    return int(line.split()[1])
