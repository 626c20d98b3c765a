"""Locks as signs of life: whoever lives holds one, and the kernel takes it back at his death."""

import os
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from pathlib import Path
from time import sleep

LOOK_S = 0.01
LOOKS = 10
"""A lock is found taken so often before it counts as held: somebody may only be looking at it."""


def held(path: Path, shared: bool = False) -> int | None:
    """Take a lock for as long as the returned descriptor is open; None when others hold it."""
    descriptor = _opened(path)
    for _ in range(LOOKS):
        try:
            flock(descriptor, (LOCK_SH if shared else LOCK_EX) | LOCK_NB)
        except BlockingIOError:
            sleep(LOOK_S)
        else:
            return descriptor
    os.close(descriptor)
    return None


def is_held(path: Path) -> bool:
    """Whether anybody holds a lock for himself."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # those look, too, who may only read
    except FileNotFoundError:
        return False
    try:
        flock(descriptor, LOCK_SH | LOCK_NB)  # shared: two that look do not see each other
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    """A descriptor of a lock file, which is made if need be; inherited by no child."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
