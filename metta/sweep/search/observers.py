"""Observers: who looks on while a search goes on, and changes nothing."""

from typing import Protocol

from metta.sweep.contracts.chunks import Chunk
from metta.sweep.stores.trials import TrialTable


class Observer(Protocol):
    """Is told of each chunk that this search has recorded; it must not raise."""

    def committed(self, chunk: Chunk, table: TrialTable, seconds: float) -> None:
        """A chunk is recorded.

        Args:
            chunk: The chunk.
            table: What is known after it.
            seconds: How long recording it took.
        """
