"""The runner: a process that runs one attempt after the other.

It speaks JSON lists over a socket with the pool that started it::

    pool:   ["run", {...attempt...}]      runner: ["report", step, metrics, checkpoint]
    pool:   ["go"] or ["stop"]            runner: ["end", ...outcome...]
"""

import faulthandler
import json
import os
import signal
import sys
from multiprocessing.connection import Connection
from threading import Thread
from typing import Any

from metta.sweep.contracts.attempts import Attempt, Code
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.runners.objective import enter, loaded
from metta.sweep.runners.outcome import Answer, outcome_of


class Channel:
    """JSON values over a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def send(self, *message: Any) -> None:
        """Send one message."""
        self._connection.send_bytes(json.dumps(message).encode())

    def receive(self) -> Any:
        """Wait for one message.

        Raises:
            EOFError: When the other side is gone.
        """
        return json.loads(self._connection.recv_bytes())


def main(socket: int, life: int) -> None:
    """Run attempts until the pool is gone.

    Args:
        socket: Descriptor of the connection to the pool.
        life: Descriptor that the pool never writes to: its end is the end of the pool.
    """
    Thread(target=_die_with_pool, args=(life,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the pool's business
    faulthandler.enable()
    channel = Channel(Connection(socket))
    code = Code.model_validate(channel.receive())
    try:
        enter(code)
        call = loaded(code)
    except (DefinitionError, OSError) as error:
        channel.send("unusable", list(getattr(error, "problems", [str(error)])))
        return
    channel.send("ready")
    while True:
        _, data = channel.receive()
        outcome = outcome_of(Attempt.model_validate(data), call, lambda *report: _send(channel, *report))
        sys.stdout.flush()
        sys.stderr.flush()
        channel.send("end", *outcome)


def _send(channel: Channel, step: int, metrics: dict[str, float], checkpoint: str | None) -> Answer:
    channel.send("report", step, metrics, checkpoint)
    [answer] = channel.receive()
    return "go" if answer == "go" else "stop"


def _die_with_pool(life: int) -> None:
    """Leave nothing behind when the pool was killed: the whole group goes, children included."""
    os.read(life, 1)
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    try:
        main(*(int(argument) for argument in sys.argv[1:3]))
    except (EOFError, ConnectionError):
        sys.exit(0)  # the pool closed the connection: nothing is left to do
