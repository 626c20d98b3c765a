"""What every store is: numbered logs, values by their content, and a place for what trials leave."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from metta.sweep.contracts.blobs import Blobs
from metta.sweep.contracts.chunks import Chunk
from metta.sweep.contracts.models import Numbered
from metta.sweep.contracts.outcomes import Entry, Line
from metta.sweep.contracts.shelves import Shelf

LineT = TypeVar("LineT", bound=Numbered)


class Log(ABC, Generic[LineT]):
    """A numbered sequence of chunks, each committed once and for ever. One primitive writes: ``commit``."""

    @property
    @abstractmethod
    def uri(self) -> str:
        """Where it lies."""

    @abstractmethod
    def exists(self) -> bool:
        """Whether anything was committed to it."""

    @abstractmethod
    def commit(self, chunk: LineT) -> None:
        """Make a chunk number ``chunk.n``, durably, before returning.

        A chunk that is there already with the same content is a lost reply, and a success.

        Raises:
            ChunkTaken: When another chunk has that number; nothing was written.
            StoreFull: When there is no room; nothing was written, and it can be tried again.
            StoreAway: When the store does not answer; it can be tried again.
            StoreError: When it could not be written for another reason, or is damaged.
        """

    @abstractmethod
    def read(self, after: int = -1) -> Iterator[LineT]:
        """All chunks whose number is above ``after``, in their order.

        Raises:
            LedgerCorrupt: When a chunk does not match its checksum.
        """

    @abstractmethod
    def has_more(self) -> bool:
        """Whether anything stands behind the last chunk that was read or written here; a cheap look.

        Where it is cheap to see that there is less, that counts, too: another log has taken its place.
        """

    @abstractmethod
    def mark(self) -> str:
        """What only this very log has, up to the last chunk that was read here; another one differs."""

    @abstractmethod
    def close(self) -> None:
        """Give back what is held open; the next call opens it again."""


class Ledger(Log[Chunk]):
    """The source of truth of a sweep."""

    @abstractmethod
    def keep_snapshot(self, n: int, data: bytes) -> None:
        """Keep what the ledger says up to a chunk, in whatever form, until another snapshot takes its place.

        Args:
            n: Number of the chunk that was committed here last.
            data: The snapshot; it may be lost in a crash of the machine, as it can be made again.

        Raises:
            StoreError: When it cannot be written.
        """

    @abstractmethod
    def snapshot(self) -> bytes | None:
        """The snapshot that was kept last of this very ledger; None when there is none.

        Reading behind its chunk is then as cheap as if all before had been read here.
        """


class OutcomeLog(Log[Line]):
    """The source of truth of an experiment."""

    is_near: ClassVar[bool] = True
    """Whether ``has_more`` takes next to no time."""

    def entries(self) -> Iterator[Entry]:
        """All entries in their order."""
        for line in self.read():
            yield from line.entries


class Workplace(ABC):
    """The folder of a sweep on this machine, in which its attempts have theirs.

    What others are to find when this machine is gone has to be kept, before it is recorded.
    Names are relative to the folder, with slashes: ``trials/7/seg-0/try-1/checkpoints/3``.

    Args:
        path: The folder.
    """

    is_shared: ClassVar[bool]
    """Whether what lies in the folder is kept as it is: nothing is copied then."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    @abstractmethod
    def address(self) -> str:
        """What the folder is called on every machine: its path where all of them see it."""

    def name_of(self, path: str) -> str | None:
        """The name of what lies in the folder; None for what lies elsewhere."""
        if Path(path).name == "..":
            return None
        # training code may have followed a link to the store; a checkpoint may be a link itself
        found, root = Path(path).parent.resolve() / Path(path).name, self.path.resolve()
        return found.relative_to(root).as_posix() if found.is_relative_to(root) else None

    def here(self, path: str) -> str:
        """A path or an address as this machine calls it."""
        name = self.name_of(path)
        return path if name is None else str(self.path / name)

    @abstractmethod
    def keep(self, name: str) -> None:
        """Keep a file or a folder as it is now.

        Raises:
            StoreError: When it is missing, or cannot be kept.
        """

    @abstractmethod
    def put(self, name: str, data: bytes) -> None:
        """Keep these bytes, whatever lies here under that name.

        Raises:
            StoreError: When they cannot be kept.
        """

    @abstractmethod
    def has(self, name: str) -> bool:
        """Whether something is kept under a name."""

    @abstractmethod
    def fetch(self, name: str, again: bool = False) -> None:
        """Have a file or a folder here as it was kept, unless this process has kept or fetched it before.

        Args:
            name: Its name.
            again: Fetch it in any case: others may have kept something else meanwhile.

        Raises:
            StoreError: When it is missing, or cannot be had.
        """

    @abstractmethod
    def part(self, name: str, offset: int, limit: int | None) -> bytes:
        """A part of a file that grows, as far as it was kept.

        Args:
            name: The file.
            offset: So many bytes are passed over.
            limit: Up to so many bytes from its beginning; None reads to its end.

        Returns:
            The bytes; none when there is no such file.
        """

    @abstractmethod
    def claim(self, name: str) -> bool:
        """Take a name for this machine.

        Returns:
            False when another machine has taken it.
        """

    @abstractmethod
    def drop(self, name: str) -> None:
        """Delete a file or a folder, here and where it was kept; what cannot be deleted is left lying."""

    @abstractmethod
    def attempts(self, folder: str) -> Iterable[str]:
        """Attempts that have left a folder of this name, such as ``trials/7/seg-0/try-1``."""


class Store(ABC):
    """Everything that a project's sweeps and experiments record."""

    @property
    @abstractmethod
    def address(self) -> str:
        """What it is called: ``store_of`` gives it back."""

    @abstractmethod
    def names(self) -> list[str]:
        """Sweeps that are recorded here."""

    @abstractmethod
    def experiment_names(self) -> list[str]:
        """Experiments that are recorded here."""

    @abstractmethod
    def ledger(self, sweep_id: str) -> Ledger:
        """The ledger of a sweep, which may be empty.

        Raises:
            DefinitionError: When nothing can have that name.
        """

    @abstractmethod
    def outcome_log(self, name: str) -> OutcomeLog:
        """The outcome log of an experiment, which may be empty.

        Raises:
            DefinitionError: When nothing can have that name.
        """

    @abstractmethod
    def workplace(self, sweep_id: str) -> Workplace:
        """Where attempts of a sweep work.

        Raises:
            DefinitionError: When nothing can have that name.
        """

    @abstractmethod
    def experiment_folder(self, name: str) -> Path:
        """Folder of an experiment on this machine, for what its stages print; it need not exist.

        Raises:
            DefinitionError: When there can be no folder of that name.
        """

    @abstractmethod
    def shelf(self, experiment: str = "") -> Shelf:
        """Files that stages leave: those of an experiment, or, without a name, of all of them."""

    @property
    @abstractmethod
    def data(self) -> Blobs:
        """Values and arrays by the hash of their content."""

    @abstractmethod
    def put_value(self, data: bytes) -> str:
        """Keep bytes under the hash of their content.

        Returns:
            The hash, 64 hexadecimal digits.

        Raises:
            StoreError: When it cannot be written.
        """

    @abstractmethod
    def value_path(self, name: str) -> Path:
        """Where the bytes of a hash lie on this machine; they need not be there, where nobody put them.

        Raises:
            StoreError: When they cannot be had from where they were kept.
        """

    @abstractmethod
    def prepare(self) -> None:
        """See that it can be used, and make what it needs.

        Raises:
            StoreError: When it cannot.
        """
