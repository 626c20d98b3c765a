"""The backlog of a runner: attempts that it takes one after the other without asking for them."""

import errno
import os
from array import array
from collections import deque
from socket import (
    AF_UNIX,
    CMSG_LEN,
    MSG_DONTWAIT,
    SCM_RIGHTS,
    SOCK_SEQPACKET,
    SOL_SOCKET,
    socket,
    socketpair,
)

from metta.sweep.contracts.attempts import Attempt

PACKET_BYTES = 1 << 16
"""Larger attempts travel as a file, for a socket takes no packet of any size."""

NO_ROOM_NOW = (errno.EAGAIN, errno.ETOOMANYREFS)
"""What a socket says that takes no further packet, or no further file, for now."""


class Backlog:
    """Attempts that a runner was handed and has not ended, in their order.

    Whoever handed them over can take back what the runner has not taken: both of them read from one
    socket, where each packet goes to one reader. A runner says that an attempt has ended before it takes the
    next one; so what it has said tells which one it is at.
    """

    def __init__(self) -> None:
        self._ours, self.theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
        self._attempts: deque[Attempt] = deque()
        self._unsent: deque[Attempt] = deque()

    def __len__(self) -> int:
        return len(self._attempts)

    @property
    def first(self) -> Attempt | None:
        """The attempt that the runner is at."""
        return self._attempts[0] if self._attempts else None

    def put(self, attempt: Attempt) -> None:
        """Hand an attempt over."""
        self._attempts.append(attempt)
        self._unsent.append(attempt)
        self._send()

    def take_back(self) -> list[Attempt]:
        """Take back all attempts that the runner has not taken."""
        keys = {attempt.key for attempt in self._unsent}
        self._unsent.clear()
        while packet := receive(self.theirs, MSG_DONTWAIT):  # the runner may take one in between
            keys.add(Attempt.model_validate_json(packet).key)
        taken = [attempt for attempt in self._attempts if attempt.key in keys]
        self._attempts = deque(attempt for attempt in self._attempts if attempt.key not in keys)
        return taken

    def end(self) -> None:
        """The first attempt is over."""
        self._attempts.popleft()
        self._send()

    def _send(self) -> None:
        """Send what finds room; to wait for it would hold up the session, for which the runner may wait."""
        try:
            while self._unsent:
                self._send_one(self._unsent[0].model_dump_json().encode())
                self._unsent.popleft()
        except OSError as error:
            if error.errno not in NO_ROOM_NOW:
                raise

    def _send_one(self, packet: bytes) -> None:
        if len(packet) <= PACKET_BYTES:
            self._ours.send(packet, MSG_DONTWAIT)
            return
        file = os.memfd_create("attempt", os.MFD_CLOEXEC)
        with open(file, "wb") as whole:
            whole.write(packet)
            whole.flush()
            # not send_fds, which does not pass its flags on
            self._ours.sendmsg([b"file"], [(SOL_SOCKET, SCM_RIGHTS, array("i", [file]))], MSG_DONTWAIT)

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
