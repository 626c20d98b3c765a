"""What may be garbage in a store on a file system: found, and deleted."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from math import inf
from pathlib import Path
from urllib.parse import unquote

from metta.sweep.stores.additions import removing
from metta.sweep.stores.data import NAME
from metta.sweep.stores.files import LEDGER, OUTCOMES, FileStore
from metta.sweep.stores.garbage import Kind, Piece
from metta.sweep.stores.ledgers import READ_BYTES, FileLedger, told
from metta.sweep.stores.outcomes import FileOutcomeLog
from metta.sweep.stores.workplaces import FileWorkplace, deleted

_VALUE = re.compile(r"[0-9a-f]{64}\.pkl", re.ASCII)
_RANDOM = "[a-z0-9_]{8}"  # as tempfile says it

DRAFTS = {
    "values": rf"\.[0-9a-f]{{64}}\.pkl-{_RANDOM}",
    "data": rf"\.{_RANDOM}",
    "launches": rf"\..+\.json-{_RANDOM}",
    "cache/**": r"\..+\.[0-9a-f]{32}",
    "experiments/*/**": r"\..+\.[0-9a-f]{32}",
    "sweeps/*": rf"\.snapshot\.jsonl-{_RANDOM}",
    "sweeps/*/trials/*/seg-*/try-*": r"\.(trial\.json|started\.json|stop|exit\.json|claim)-[0-9a-f]{12}",
}
"""Where files are written under a name for the time being, and under which."""


class FileGarbage:
    """What may be garbage in a store.

    Args:
        store: The store.
    """

    def __init__(self, store: FileStore) -> None:
        self._root = store.root

    def drafts(self) -> Iterator[Piece]:
        """Files that were being written when their writer was killed, or still are."""
        for place, form in DRAFTS.items():
            for path in self._root.glob(f"{place}/.*"):
                if re.fullmatch(form, path.name):
                    yield from self._piece("drafts", path)

    def checkpoints(self, workplace: FileWorkplace, owner: str, names: Iterable[str]) -> Iterator[Piece]:
        """Checkpoints of a sweep as pieces."""
        for name in names:
            yield from self._piece("checkpoints", workplace.path / name, owner)

    def unrecorded(self) -> list[str]:
        """Folders of sweeps and experiments of which there is no record, though something lies there.

        Raises:
            StoreError: When one cannot be read.
        """
        found = []
        logs = ("sweeps", FileLedger, LEDGER), ("experiments", FileOutcomeLog, OUTCOMES)
        for kind, log, name in logs:
            for folder in sorted(self._root.glob(f"{kind}/*")):
                with told(folder, "read"):
                    if folder.is_dir() and any(folder.iterdir()) and not log(folder / name).exists():
                        found.append(self._key(folder))
        return found

    def shared(self) -> list[str]:
        """Folders of values and blobs that may be other stores' too, for links lead to them."""
        return [self._key(f) for f in (self._root / "values", self._root / "data") if f.is_symlink()]

    # --- what is kept under its hash ---

    def pieces(self) -> Iterator[Piece]:
        """Its values and blobs."""
        for path in self._root.glob("values/*.pkl"):
            if _VALUE.fullmatch(path.name):
                yield from self._piece("values", path)
        for path in self._root.glob("data/??/*"):
            if NAME.fullmatch(path.name) and path.parent.name == path.name[:2]:
                yield from self._piece("blobs", path)

    def referring(self) -> Iterator[Iterator[bytes]]:
        """The content of all other files that may refer to them."""
        yield from map(_blocks, self._root.glob(f"sweeps/*/{LEDGER}"))
        yield from map(_blocks, self._root.glob("launches/*.json"))
        for place in ("experiments", "cache"):
            yield from map(_blocks, _files_below(self._root / place))

    def content(self, piece: Piece) -> Iterator[bytes]:
        """The content of a value or blob; nothing when it is gone."""
        return _blocks(self._root / piece.key)

    # --- deleting ---

    def delete(self, pieces: Sequence[Piece], before: float) -> tuple[list[Piece], list[Piece]]:
        """Delete pieces; of those that all share none that has become new meanwhile.

        Args:
            pieces: What is to be deleted.
            before: What was written later is left, in seconds since 1970.

        Returns:
            What was deleted, and what cannot be.

        Raises:
            StoreError: When the store cannot be written to.
        """
        gone: list[Piece] = []
        stuck: list[Piece] = []
        if pieces:
            with told(self._root, "written"), removing(self._root):
                pass  # a read-only store is told once, not for each of them
        for piece in pieces:
            path = self._root / piece.key
            if piece.kind == "checkpoints":  # nobody adds to them, and they may take their time
                if not os.path.lexists(path):  # somebody else was faster
                    continue
                deleted(path)
            else:
                with told(self._root, "written"), removing(self._root):
                    if not os.path.lexists(path) or _written(path) >= before:
                        continue
                    deleted(path)
            (stuck if os.path.lexists(path) else gone).append(piece)
        return gone, stuck

    def _piece(self, kind: Kind, path: Path, owner: str = "") -> Iterator[Piece]:
        with (
            told(path, "read"),
            suppress(FileNotFoundError),
        ):  # somebody else deletes, too, or has finished his draft
            key = self._key(path)
            # a link is somebody's own doing
            at = inf if path.is_symlink() and kind != "checkpoints" else path.lstat().st_mtime
            yield Piece(kind, key, _size(path), at, owner or _owner_of(key))

    def _key(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()


def _owner_of(key: str) -> str:
    """The sweep or experiment whose folder something lies in; empty when all share it."""
    kind, *rest = key.split("/")
    return unquote(rest[0]) if kind in ("sweeps", "experiments") else ""


def _written(path: Path) -> float:
    """When a file was last written."""
    return path.lstat().st_mtime


def _size(path: Path) -> int:
    """Bytes in a file, or in all files of a folder."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    sizes = 0
    for folder, _, files in os.walk(path):
        for name in files:
            with suppress(OSError):
                sizes += Path(folder, name).lstat().st_size
    return sizes


def _blocks(path: Path) -> Iterator[bytes]:
    with told(path, "read"), suppress(FileNotFoundError), path.open("rb") as file:
        while block := file.read(READ_BYTES):
            yield block


def _files_below(folder: Path) -> Iterator[Path]:
    """All files below a folder, links followed.

    Raises:
        StoreError: When some of it cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise error

    seen = set()
    with told(folder, "read"), suppress(FileNotFoundError):
        for here, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
            seen.add(os.path.realpath(here))
            folders[:] = [name for name in folders if os.path.realpath(os.path.join(here, name)) not in seen]
            yield from (path for name in files if (path := Path(here, name)).is_file())
