"""The data store on a file system: values and arrays, by the hash of their content."""

import os
import re
from hashlib import file_digest
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from metta.sweep.contracts.blobs import Hashed, Write
from metta.sweep.contracts.errors import StoreError
from metta.sweep.stores.additions import adding, renewed
from metta.sweep.stores.ledgers import sync_folder, told

NAME = re.compile(r"([0-9a-f]{64})\.[a-z]+", re.ASCII)

WAY_OUT = "restore it from a backup, or run again what gave it"


class DataStore:
    """Blobs below a folder; whoever puts the same bytes twice gets the same name.

    ::

        <root>/data/<first two digits>/<hash>.<suffix>

    Args:
        root: The folder of the store; made when something is put into it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    @property
    def store(self) -> str:
        """Address of the store that they belong to."""
        return str(self.root)

    def put(self, suffix: str, write: Write) -> str:
        """Keep what a function writes, durably; nothing else sees it before it is complete.

        Args:
            suffix: End of its name, lower-case letters.
            write: Is called once, with a file to write to.

        Returns:
            Its name.

        Raises:
            StoreFull: When there is no room.
            StoreError: When it cannot be written for another reason.
        """
        folder = self.root / "data"
        with told(folder, "written"):
            _make(folder)
            with NamedTemporaryFile(dir=folder, prefix=".", delete=False) as file:
                try:
                    stream = Hashed(file)
                    written(stream, write)
                    file.flush()
                    return self._placed(Path(file.name), stream, suffix)
                finally:
                    Path(file.name).unlink(missing_ok=True)

    def _placed(self, draft: Path, stream: Hashed, suffix: str) -> str:
        name = stream.name(suffix)
        path = self.path(name)
        _make(path.parent)
        with adding(self.root):
            # one of another size was damaged
            is_there = path.is_file() and path.stat().st_size == stream.size and renewed(path)
        if not is_there:
            with draft.open("rb") as file:
                os.fsync(file.fileno())
            with adding(self.root):
                draft.replace(path)
        sync_folder(path.parent)  # also when another process has put it there a moment ago
        return name

    def path(self, name: str) -> Path:
        """Where a blob lies, or would.

        Raises:
            StoreError: When nothing of that name can be here.
        """
        if not NAME.fullmatch(name):
            raise StoreError(f"{name!r:.100} names nothing in a data store")
        return self.root / "data" / name[:2] / name

    def open(self, name: str) -> IO[bytes]:
        """A file to read from, which the caller closes.

        Raises:
            StoreError: When it is missing, damaged or cannot be read.
        """
        path = self.path(name)
        with told(path, "read"):
            try:
                file = path.open("rb")
            except FileNotFoundError:
                raise StoreError(f"{name} is missing: there is no {path}; {WAY_OUT}") from None
            try:
                if file_digest(file, "sha256").hexdigest() != path.stem:
                    raise StoreError(f"{name} is damaged: {path} has another content by now; {WAY_OUT}")
                file.seek(0)
            except BaseException:
                file.close()
                raise
            return file


def written(stream: Hashed, write: Write) -> None:
    """Let a function write, and tell of what stopped it, also where a library hides that."""
    try:
        write(stream)
    except Exception:
        if stream.error is not None:
            raise stream.error from None
        raise


def _make(folder: Path) -> None:
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        sync_folder(folder.parent)
