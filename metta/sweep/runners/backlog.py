"""The backlog of a runner: attempts that it takes one after the other without asking for them."""

import os
from array import array
from collections import deque
from socket import AF_UNIX, CMSG_LEN, MSG_DONTWAIT, SOCK_SEQPACKET, send_fds, socket, socketpair

from metta.sweep.contracts.attempts import Attempt

PACKET_BYTES = 1 << 16
"""Larger attempts travel as a file, for a socket takes no packet of any size."""


class Backlog:
    """Attempts that a runner was handed and has not ended, in their order.

    Whoever handed them over can take back what the runner has not taken: both of them read from one
    socket, where each packet goes to one reader.
    """

    def __init__(self) -> None:
        self._ours, self.theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
        self._attempts: deque[Attempt] = deque()

    def __len__(self) -> int:
        return len(self._attempts)

    @property
    def first(self) -> Attempt | None:
        """The attempt that the runner is at."""
        return self._attempts[0] if self._attempts else None

    def put(self, attempt: Attempt) -> None:
        """Hand an attempt over."""
        self._attempts.append(attempt)
        packet = attempt.model_dump_json().encode()
        if len(packet) <= PACKET_BYTES:
            self._ours.send(packet)
            return
        file = os.memfd_create("attempt", os.MFD_CLOEXEC)
        with open(file, "wb") as whole:
            whole.write(packet)
            whole.flush()
            send_fds(self._ours, [b"file"], [file])

    def take_back(self) -> list[Attempt]:
        """Take back all attempts that the runner has not taken."""
        taken: list[Attempt] = []
        while self._attempts and receive(self.theirs, MSG_DONTWAIT):
            taken.append(self._attempts.pop())
        return taken[::-1]

    def end(self) -> None:
        """The first attempt is over."""
        self._attempts.popleft()

    def close(self) -> None:
        """Give the socket back."""
        self._ours.close()
        self.theirs.close()


def receive(connection: socket, flags: int = 0) -> bytes:
    """The next attempt as JSON; nothing when there is none, or never will be."""
    file = array("i")
    try:
        # not recv_fds, which does not pass its flags on
        packet, received, _, _ = connection.recvmsg(PACKET_BYTES, CMSG_LEN(file.itemsize), flags)
    except BlockingIOError:
        return b""
    if not received:
        return packet
    file.frombytes(received[0][2])
    with open(file[0], "rb") as whole:
        whole.seek(0)  # the offset is shared with the one who wrote it
        return whole.read()
