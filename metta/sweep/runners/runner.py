"""The runner: a process that runs one attempt after the other.

It exchanges lines with the pool that started it, over a socket::

    pool:   {...code...} and the mark     runner: ["ready"] or ["unusable", problems]
                                          runner: ["report", step, metrics, checkpoint]
    pool:   go or stop                    runner: ["last", step, metrics, checkpoint]
                                          runner: ["end", ...outcome...]

Attempts come over a socket of their own, so that some may lie there before they are wanted.
"""

import faulthandler
import json
import os
import signal
import sys
from contextlib import nullcontext, suppress
from fcntl import F_DUPFD_CLOEXEC, F_SETFL, F_SETOWN, F_SETSIG, fcntl
from io import TextIOWrapper
from select import POLLHUP, poll
from socket import socket
from typing import Any

from metta.sweep.contracts.attempts import Attempt, Code
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.runners.backlog import receive
from metta.sweep.runners.objective import enter, loaded
from metta.sweep.runners.outcome import Answer, outcome_of
from metta.sweep.telemetry.tracing import continued

UNTRACED = nullcontext()
"""What nobody traces is to cost nothing."""


class Channel:
    """Lines to and from the pool."""

    def __init__(self, connection: socket) -> None:
        self._connection = connection
        self._lines = connection.makefile("rb")

    def send(self, *message: Any) -> None:
        """Send a message."""
        # names of metrics and files may hold what cannot be encoded
        line = json.dumps(message, ensure_ascii=False).encode(errors="replace")
        self._connection.sendall(line + b"\n")

    def receive(self) -> bytes:
        """Wait for a line.

        Raises:
            EOFError: When the pool is gone.
        """
        if line := self._lines.readline():
            return line.rstrip()
        raise EOFError

    def report(self, step: int, metrics: dict[str, float], checkpoint: str | None, is_last: bool) -> Answer:
        """Send a report, and wait for its answer; that an attempt ends with its last one needs none."""
        self.send("last" if is_last else "report", step, metrics, checkpoint)
        return "go" if is_last or self.receive() == b"go" else "stop"


def main(connection: int, backlog: int, life: int) -> None:
    """Run attempts until the pool is gone.

    Args:
        connection: Descriptor of the socket to the pool.
        backlog: Descriptor of the socket from which it takes attempts.
        life: Descriptor that the pool never writes to: its end is the end of the pool.
    """
    die_with(life)
    # not SIG_IGN, which the programs that a trial starts would inherit
    signal.signal(signal.SIGINT, lambda *_: None)
    faulthandler.enable()
    channel = Channel(socket(fileno=connection))
    attempts = socket(fileno=backlog)
    # its own, for a trial may close or replace what it prints to
    output = fcntl(sys.stdout.fileno(), F_DUPFD_CLOEXEC)
    try:
        code, mark = Code.model_validate_json(channel.receive()), channel.receive()
        enter(code)
        call = loaded(code)
    except (DefinitionError, OSError) as error:
        channel.send("unusable", list(getattr(error, "problems", [str(error)])))
        return
    channel.send("ready")
    pid, folder = os.getpid(), os.getcwd()
    while packet := receive(attempts):
        attempt = Attempt.model_validate_json(packet)
        os.write(output, mark)
        with continued(attempt.traceparent) if attempt.traceparent else UNTRACED:
            outcome = outcome_of(attempt, call, channel.report)
        if os.getpid() != pid:
            os._exit(0)  # a child that the objective forked has no business here
        flush()
        os.write(output, mark)
        channel.send("end", *outcome)
        os.chdir(folder)


def die_with(life: int) -> None:
    """Let the kernel kill this process and its children as soon as the other end of a pipe is closed.

    A thread that waits for that end would not do: a trial may hold the interpreter's lock for long.
    """
    fcntl(life, F_SETOWN, -os.getpgrp())
    fcntl(life, F_SETSIG, signal.SIGKILL)
    fcntl(life, F_SETFL, os.O_ASYNC)
    poller = poll()
    poller.register(life, POLLHUP)
    if poller.poll(0):  # it was closed before
        os.killpg(0, signal.SIGKILL)


def flush() -> None:
    """Let all that was printed leave this process; a trial may have closed or replaced its streams."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()


if __name__ == "__main__":
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # a trial that is killed has its last lines in its log
    with suppress(EOFError, ConnectionError):
        main(*(int(argument) for argument in sys.argv[1:4]))
