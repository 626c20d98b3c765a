"""Shelves: where the persistence hooks of a durable experiment leave their bytes."""

from metta.sweep.contracts.shelves import Shelf
from metta.sweep.stores.base import Store

CACHE = "cache/"


class StoreShelf:
    """Caches are shared by all experiments of a store; checkpoints and archives are an experiment's own.

    Args:
        store: The store.
        experiment: Name of the experiment.
    """

    def __init__(self, store: Store, experiment: str) -> None:
        self._shared, self._own = store.shelf(), store.shelf(experiment)

    def read(self, key: str) -> bytes | None:
        """What lies there; None when nothing does."""
        return self._shelf(key).read(key)

    def write(self, key: str, data: bytes) -> None:
        """Put it there, whole or not at all."""
        self._shelf(key).write(key, data)

    def _shelf(self, key: str) -> Shelf:
        return self._shared if key.startswith(CACHE) else self._own
