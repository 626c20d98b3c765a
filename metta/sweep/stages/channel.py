"""The channel of a stage process to its worker: tasks come in, replies and requests go out."""

import os
from collections.abc import Iterator
from concurrent.futures import Future
from queue import SimpleQueue
from socket import socket
from threading import Lock, Thread
from typing import BinaryIO

from pydantic import TypeAdapter

from metta.sweep.contracts.models import Wire
from metta.sweep.contracts.nested import NestedEnd, NestedRun
from metta.sweep.stages.messages import Answered, Asked, Dropped, Incoming, Setting, Task

_INCOMING = TypeAdapter[Incoming](Incoming)


class Channel:
    """Lines over a socket. A thread reads them, for a task may ask for something while it is carried out.

    Args:
        connection: The socket.
    """

    def __init__(self, connection: socket) -> None:
        self._socket = connection
        self._lines: BinaryIO = connection.makefile("rb")
        self._sending = Lock()
        self._tasks = SimpleQueue[Task | None]()
        self._asked: dict[int, Future[NestedEnd]] = {}
        self._count = 0
        self._pid = os.getpid()

    def setting(self) -> Setting:
        """What the worker says first."""
        return Setting.model_validate_json(self._lines.readline())

    def ready(self) -> None:
        """Say that tasks may come."""
        Thread(target=self._read, name="channel", daemon=True).start()
        self._send(b"ready")

    def tasks(self) -> Iterator[Task]:
        """Tasks, one after the other, until the worker is gone."""
        while task := self._tasks.get():
            yield task

    def tell(self, said: Wire) -> None:
        """Send a line.

        Raises:
            ConnectionError: When the worker is gone.
        """
        self._send(said.model_dump_json().encode())

    def ask(self, run: NestedRun) -> Future[NestedEnd]:
        """Ask for a nested run; when the future is cancelled, it is asked for no longer."""
        future = Future[NestedEnd]()
        with self._sending:
            self._count += 1
            number = self._count
            self._asked[number] = future
        self.tell(Asked(number=number, run=run))
        future.add_done_callback(lambda done: self._drop(number) if done.cancelled() else None)
        return future

    def _drop(self, number: int) -> None:
        if os.getpid() != self._pid:  # a child that the stage forked has no business here
            return
        if self._asked.pop(number, None):
            self.tell(Dropped(number=number))

    def _send(self, line: bytes) -> None:
        with self._sending:
            self._socket.sendall(line + b"\n")

    def _read(self) -> None:
        while line := self._lines.readline():
            said = _INCOMING.validate_json(line)
            if not isinstance(said, Answered):
                self._tasks.put(said)
            elif (future := self._asked.pop(said.number, None)) and future.set_running_or_notify_cancel():
                future.set_result(said.end)
        self._tasks.put(None)
