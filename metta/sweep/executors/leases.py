"""Leases: which job of this machine has which device.

A lease is a lock on a file. The supervisor of a job holds it, whatever becomes of the worker, and the kernel
frees it when the supervisor dies. Needs the standard library alone.
"""

import os
from fcntl import LOCK_EX, LOCK_NB, flock

GATHER = "gather"
"""Locked by whoever gathers leases: two that need two devices each must not be left with one."""


def lease(folder: str, devices: list[str], count: int) -> dict[str, int]:
    """Lease so many of the devices, or none of them.

    Args:
        folder: Where the lock files are; made when it is missing.
        devices: Which ones may be leased, the first ones preferred.
        count: How many are needed.

    Returns:
        The descriptor by which each is held, until it is closed; empty when too few are free.
    """
    os.makedirs(folder, mode=0o700, exist_ok=True)
    gathering = _open(folder, GATHER)
    held: dict[str, int] = {}
    try:
        flock(gathering, LOCK_EX)
        for device in devices:
            if len(held) < count and (descriptor := _locked(folder, device)) is not None:
                held[device] = descriptor
        if len(held) < count:
            release(held)
    finally:
        os.close(gathering)
    return held


def release(held: dict[str, int]) -> None:
    """Give leases back."""
    while held:
        os.close(held.popitem()[1])


def _locked(folder: str, device: str) -> int | None:
    descriptor = _open(folder, f"device-{device.encode().hex()}")
    try:
        flock(descriptor, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _open(folder: str, name: str) -> int:
    return os.open(os.path.join(folder, name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
