"""Shelves in a bucket: what the persistence hooks of a pipeline leave."""

from metta.sweep.contracts.shelves import inner
from metta.sweep.stores.objects import Objects


class ObjectShelf:
    """Files that stages leave, as objects.

    Args:
        objects: Where they lie.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def read(self, key: str) -> bytes | None:
        """What lies there; None when nothing does."""
        return self._objects.get(inner(key))

    def write(self, key: str, data: bytes) -> None:
        """Put it there, whole or not at all."""
        self._objects.put(inner(key), data)
