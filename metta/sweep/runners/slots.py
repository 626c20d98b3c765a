"""Slots of a machine: sweeps that run side by side share its cores."""

import os
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from pathlib import Path
from tempfile import gettempdir
from time import monotonic

LOOK_S = 0.5
"""How often the owner of slots looks whether somebody else waits for one."""

YIELD_S = 0.3
"""For so long an owner leaves a slot to the others that it gave back for them."""

RETRY_S = 0.05
"""So long after finding all slots taken, it is not tried again."""


class MachineSlots:
    """Lock files, one a slot; the kernel frees those of a process that dies.

    Whoever has no slot at all shows that it waits, and an owner of several then gives one back.

    Args:
        count: How many slots the machine has.
        folder: Where the lock files are; None takes the user's own on this machine.
    """

    def __init__(self, count: int, folder: Path | None = None) -> None:
        self._folder = folder or Path(gettempdir()) / f"metta-sweep-slots-{os.getuid()}"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._count = count
        self._idle: list[int] = []
        self._busy: set[int] = set()
        self._waiting: int | None = None
        self._next_look = 0.0
        self._next_try = 0.0

    def reserve(self, wanted: int) -> int:
        """Get hold of slots.

        Returns:
            How many are at hand for ``use``, up to the wanted ones.
        """
        if len(self._idle) < wanted and monotonic() >= self._next_try:
            self._lock(wanted)
        if self._idle or self._busy:
            self._stop_waiting()
        elif wanted:
            self._start_waiting()
        return min(wanted, len(self._idle))

    def use(self) -> int:
        """Take one of the slots at hand; ``release`` takes what is returned."""
        slot = self._idle.pop()
        self._busy.add(slot)
        return slot

    def release(self, slot: int) -> None:
        """Put a slot back to those at hand."""
        self._busy.remove(slot)
        self._idle.append(slot)

    def share(self) -> None:
        """Give the slots at hand to the others when one of them has none; cheap, to be called often."""
        now = monotonic()
        if self._idle and now >= self._next_look:
            self._next_look = now + LOOK_S
            if self._others_wait():
                self._next_try = now + YIELD_S
                self._give_back()

    def close(self) -> None:
        """Give everything back."""
        self._stop_waiting()
        self._give_back()
        for slot in self._busy:
            os.close(slot)
        self._busy.clear()

    @property
    def is_waiting(self) -> bool:
        """Whether all slots are taken by others."""
        return self._waiting is not None

    def _lock(self, wanted: int) -> None:
        for number in range(self._count):
            if len(self._idle) == wanted:
                return
            slot = self._open(f"slot-{number}")
            try:
                flock(slot, LOCK_EX | LOCK_NB)
            except BlockingIOError:  # taken, maybe by ourselves: each open file has its own lock
                os.close(slot)
            else:
                self._idle.append(slot)
        self._next_try = monotonic() + RETRY_S

    def _give_back(self) -> None:
        while self._idle:
            os.close(self._idle.pop())

    def _start_waiting(self) -> None:
        if self._waiting is None:
            self._waiting = self._open("waiting")
            flock(self._waiting, LOCK_SH)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            os.close(self._waiting)
            self._waiting = None

    def _others_wait(self) -> bool:
        waiting = self._open("waiting")
        try:
            flock(waiting, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            return True
        else:
            return False
        finally:
            os.close(waiting)

    def _open(self, name: str) -> int:
        return os.open(self._folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
