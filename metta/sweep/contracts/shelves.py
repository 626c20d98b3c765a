"""Shelves: where the persistence hooks of a pipeline leave their files."""

import os
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from metta.sweep.contracts.errors import SweepError


class OutsideStore(SweepError):
    """A name that a hook gave leads out of the store."""


class Shelf(Protocol):
    """What stages keep: bytes under names such as ``checkpoints/train``."""

    def read(self, key: str) -> bytes | None:
        """What lies there; None when nothing does."""

    def write(self, key: str, data: bytes) -> None:
        """Put it there, whole or not at all."""


class Folder:
    """Files below a folder of this machine, which is made when the first one is written.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, key: str) -> bytes | None:
        """What lies there; None when nothing does."""
        path = self._path(key)
        return path.read_bytes() if path.is_file() else None

    def write(self, key: str, data: bytes) -> None:
        """Put it there, whole or not at all."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{uuid4().hex}")
        try:
            with draft.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._root / inner(key)


def part_of(path: Path, offset: int, limit: int | None) -> bytes:
    """A part of a file that others append to; nothing when there is none.

    Args:
        path: The file.
        offset: So many bytes are passed over.
        limit: Up to so many bytes from its beginning; None reads to its end.
    """
    if not path.exists():
        return b""
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(-1 if limit is None else max(0, limit - offset))


def inner(key: str) -> str:
    """A name as it is written without detours.

    >>> inner("checkpoints/./train")
    'checkpoints/train'

    Raises:
        OutsideStore: When it leads out of the shelf.
    """
    path = os.path.normpath(key) if key else "."
    if path == "." or path.startswith("..") or os.path.isabs(path):
        raise OutsideStore(f"{key!r} leads out of the store; give a path relative to it")
    return path
