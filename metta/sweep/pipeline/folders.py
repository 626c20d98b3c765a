"""Folders: where the persistence hooks of a pipeline leave their files on this machine."""

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
        path = Path(os.path.normpath(self._root / key))
        if not key or path == self._root or not path.is_relative_to(os.path.normpath(self._root)):
            raise OutsideStore(f"{key!r} leads out of the store; give a path relative to it")
        return path
