"""Shelves: where the persistence hooks of a durable experiment leave their bytes."""

from pathlib import Path

from metta.sweep.pipeline.folders import Folder

CACHE = "cache/"


class StoreShelf:
    """Caches are shared by all experiments of a store; checkpoints and archives are an experiment's own.

    Args:
        store: Folder of the store.
        experiment: Folder of the experiment.
    """

    def __init__(self, store: Path, experiment: Path) -> None:
        self._shared, self._own = Folder(store), Folder(experiment)

    def read(self, key: str) -> bytes | None:
        """What lies there; None when nothing does."""
        return self._folder(key).read(key)

    def write(self, key: str, data: bytes) -> None:
        """Put it there, whole or not at all."""
        self._folder(key).write(key, data)

    def _folder(self, key: str) -> Folder:
        return self._shared if key.startswith(CACHE) else self._own
