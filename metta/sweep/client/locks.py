"""Locks as signs of life: whoever lives holds one, and the kernel takes it back at his death."""

import os
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from pathlib import Path


def open_lock(path: Path) -> int:
    """A descriptor of a lock file, which is made if need be; inherited by no child."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def held(path: Path, shared: bool = False) -> int | None:
    """Take a lock for as long as the returned descriptor is open; None when others hold it."""
    descriptor = open_lock(path)
    try:
        flock(descriptor, (LOCK_SH if shared else LOCK_EX) | LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def is_held(path: Path) -> bool:
    """Whether anybody holds a lock."""
    if not path.exists():
        return False
    descriptor = held(path)
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is None
