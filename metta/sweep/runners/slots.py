"""Slots of a machine: sweeps that run side by side share its cores."""

import os
from contextlib import suppress
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from pathlib import Path
from tempfile import gettempdir
from time import monotonic

LOOK_S = 0.5
"""How often an owner of slots looks whether somebody else waits for one."""

YIELD_S = 0.3
"""For so long an owner leaves a slot to the others that it gave back for them."""

RETRY_S = 0.1
"""So long after slots were found taken, they are tried again."""


class MachineSlots:
    """Lock files, one a slot; the kernel frees those of a process that dies.

    Only slots in use are kept, and whoever has none at all shows that it waits; each owner whose
    attempt ends then gives that slot back. So sweeps take turns, however many there are.

    Args:
        count: How many slots the machine has.
        folder: Where the lock files are; None takes the user's own on this machine.
    """

    def __init__(self, count: int, folder: Path | None = None) -> None:
        self._folder = folder or Path(gettempdir()) / f"metta-sweep-slots-{os.getuid()}"
        self._count = count
        self._held: dict[int, int] = {}
        self._used = 0
        self._short = False
        self._waiting: int | None = None
        self._is_wanted = False
        self._next_look = 0.0
        self._next_try = 0.0

    def reserve(self, wanted: int) -> int:
        """Get hold of slots.

        Returns:
            How many are at hand for ``use``, up to the wanted ones.
        """
        if self.at_hand < wanted and monotonic() >= self._next_try:
            self._lock(self._used + wanted)
            if self.at_hand < wanted:
                self._next_try = monotonic() + RETRY_S
        self._short = self.at_hand < wanted
        if self._short and not self._held:
            self._start_waiting()
        else:
            self._stop_waiting()
        return min(wanted, self.at_hand)

    def use(self) -> None:
        """Take one of the slots at hand."""
        self._used += 1

    def release(self) -> None:
        """Put a slot back to those at hand, or give it to somebody who has none."""
        self._used -= 1
        if self.is_wanted:
            self._is_wanted = False
            self._next_try = monotonic() + YIELD_S
            self._give_back()

    def rest(self) -> None:
        """Give back the slots at hand: nobody wants to use them now."""
        while self.at_hand:
            self._give_back()

    def close(self) -> None:
        """Give everything back."""
        self._stop_waiting()
        self._used = 0
        self.rest()

    @property
    def is_waiting(self) -> bool:
        """Whether all slots are taken by others."""
        return self._waiting is not None

    @property
    def is_wanted(self) -> bool:
        """Whether somebody who has no slot waits for the next one that is released."""
        if (now := monotonic()) >= self._next_look:
            self._next_look = now + LOOK_S
            self._is_wanted = self._others_wait()
        return self._is_wanted

    @property
    def retry_s(self) -> float | None:
        """Seconds until ``reserve`` may find more than the last time; None when it found all it wanted."""
        return max(0.0, self._next_try - monotonic()) if self._short else None

    @property
    def at_hand(self) -> int:
        """Slots that ``use`` would take."""
        return len(self._held) - self._used

    def _lock(self, wanted: int) -> None:
        # from above: a sweep with fewer slots in all knows only the first ones
        for number in reversed(range(self._count)):
            if len(self._held) == wanted:
                return
            if number not in self._held and (slot := self._locked(number)) is not None:
                self._held[number] = slot

    def _locked(self, number: int) -> int | None:
        slot = self._open(f"slot-{number}")
        try:
            flock(slot, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            os.close(slot)
            return None
        return slot

    def _give_back(self) -> None:
        """Give back one slot: the first, which all others can use."""
        os.close(self._held.pop(min(self._held)))

    def _start_waiting(self) -> None:
        if self._waiting is None:
            self._waiting = self._open("waiting")
            # somebody may look at this moment, and is quick: whoever waits can wait for that
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
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        with suppress(FileNotFoundError):
            return os.open(self._folder / name, flags, 0o600)
        # not there yet, or tidied away: temporary folders are
        self._folder.mkdir(parents=True, exist_ok=True)
        return os.open(self._folder / name, flags, 0o600)
