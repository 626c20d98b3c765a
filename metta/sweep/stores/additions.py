"""Additions: what is put into a store keeps clear of what is taken out of it as garbage.

Whoever puts something there that is there already counts on it from then on, before any record says so. So he
makes it new again, and nothing is deleted without a look at its age at a time when nobody adds anything.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_SH, flock
from pathlib import Path

LOCK = "gc.lock"


@contextmanager
def adding(root: Path) -> Iterator[None]:
    """Within it nothing is deleted; keep it short.

    Args:
        root: The folder of the store, which exists.

    Raises:
        OSError: When the store cannot be written to.
    """
    # for reading alone: the file may be another user's
    with _locked(root, os.O_RDONLY, LOCK_SH):
        yield


@contextmanager
def removing(root: Path) -> Iterator[None]:
    """Within it nothing is added; keep it short.

    Args:
        root: The folder of the store, which exists.

    Raises:
        OSError: When the store cannot be written to.
    """
    with _locked(root, os.O_RDWR, LOCK_EX):
        yield


def renewed(path: Path) -> bool:
    """Make a file as new as one that is written now; False when it is not there, or another user's."""
    try:
        os.utime(path)
    except OSError:
        return False
    return True


@contextmanager
def _locked(root: Path, mode: int, kind: int) -> Iterator[None]:
    descriptor = os.open(root / LOCK, mode | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        flock(descriptor, kind)
        yield
    finally:
        os.close(descriptor)
