"""What every ledger is: a numbered sequence of chunks, each committed once and for ever."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

from metta.sweep.contracts.chunks import Chunk


class Ledger(ABC):
    """The source of truth of a sweep. One primitive writes: ``commit``."""

    @property
    @abstractmethod
    def uri(self) -> str:
        """Where it lies."""

    @abstractmethod
    def exists(self) -> bool:
        """Whether anything was committed to it."""

    @abstractmethod
    def commit(self, chunk: Chunk) -> None:
        """Make a chunk number ``chunk.n``, durably, before returning.

        A chunk that is there already with the same content is a lost reply, and a success.

        Raises:
            ChunkTaken: When another chunk has that number; nothing was written.
            StoreFull: When there is no room; nothing was written, and it can be tried again.
            StoreError: When it could not be written for another reason, or is damaged.
        """

    @abstractmethod
    def read(self, after: int = -1) -> Iterator[Chunk]:
        """All chunks whose number is above ``after``, in their order.

        Raises:
            LedgerCorrupt: When a chunk does not match its checksum.
        """

    @abstractmethod
    def close(self) -> None:
        """Give back what is held open; the next call opens it again."""
