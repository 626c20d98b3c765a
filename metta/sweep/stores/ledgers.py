"""The ledger on a file system: JSON lines, one chunk a line, each with its checksum."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_UN, flock
from pathlib import Path
from zlib import crc32

from pydantic import ValidationError

from metta.sweep.contracts.chunks import Chunk
from metta.sweep.contracts.errors import ChunkTaken, LedgerCorrupt, StoreError, StoreFull
from metta.sweep.stores.base import Ledger

CRC_BYTES = len(',"crc":"00000000"}\n')
READ_BYTES = 1 << 20


class FileLedger(Ledger):
    """One append-only file.

    A line is a chunk as JSON, whose last field ``crc`` is the CRC-32 of the bytes before that field.
    A line without its newline was never acknowledged: readers pass over it, the next writer cuts it
    off. Anything else that does not match its checksum is damage, and nobody writes behind damage.

    Args:
        path: The file; it and its folder are made by the first commit.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._offset = 0  # bytes that are known and sound
        self._lines = 0
        self._read = (0, 0)  # number and offset of the line after the last one that was read

    @property
    def uri(self) -> str:
        """Where it lies."""
        return self._path.absolute().as_uri()

    def exists(self) -> bool:
        """Whether anything was committed to it."""
        return self._path.exists() and self._path.stat().st_size > 0

    def commit(self, chunk: Chunk) -> None:
        """Make a chunk number ``chunk.n``; see ``Ledger.commit``. Takes a lock and an fsync."""
        line = line_of(chunk)
        with _told(self._path), self._locked() as file:
            self._read_on(file)
            if chunk.n < self._lines:
                self._check_mine(file, chunk, line)
            elif chunk.n > self._lines:
                raise StoreError(f"{self._path} has {self._lines} chunks; number {chunk.n} does not follow")
            else:
                self._append(file, line)

    def read(self, after: int = -1) -> Iterator[Chunk]:
        """All chunks above ``after``; what is being written meanwhile may or may not be among them."""
        if not self._path.exists():
            return
        first, start = self._read if self._read[0] <= after + 1 else (0, 0)
        with self._path.open("rb") as file:
            for number, offset, line in _lines(file.fileno(), start, first):
                if number > after:
                    yield self._chunk(number, offset, line)
                self._read = (number + 1, offset + len(line))

    def close(self) -> None:
        """Give back the file; the next commit opens it again."""
        if self._file is not None:
            os.close(self._file)
        self._file, self._offset, self._lines = None, 0, 0

    @contextmanager
    def _locked(self) -> Iterator[int]:
        if self._file is None:
            self._file = _opened(self._path)
        file = self._file
        flock(file, LOCK_EX)
        try:
            if os.fstat(file).st_nlink == 0:
                raise StoreError(f"{self._path} was deleted while it was in use; nothing more is written")
            yield file
        finally:
            flock(file, LOCK_UN)

    def _read_on(self, file: int) -> None:
        """Learn what others have written, and cut off a line that was never finished."""
        size = os.fstat(file).st_size
        if size == self._offset:
            return
        for number, offset, line in _lines(file, self._offset, self._lines):
            self._chunk(number, offset, line)
            self._offset, self._lines = offset + len(line), number + 1
        if self._offset < size:
            os.ftruncate(file, self._offset)

    def _append(self, file: int, line: bytes) -> None:
        try:
            written = os.write(file, line)
            if written < len(line):  # a disk that fills up writes what fits
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file)
        except OSError:
            with suppress(OSError):  # a torn line that stays is cut off by the next writer
                os.ftruncate(file, self._offset)
            self._forget(file)
            raise
        self._offset += len(line)
        self._lines += 1

    def _forget(self, file: int) -> None:
        """After a failed fsync the page cache cannot be trusted: read the file anew."""
        self._file, self._offset, self._lines = None, 0, 0
        os.close(file)

    def _check_mine(self, file: int, chunk: Chunk, line: bytes) -> None:
        taken = next(found for number, _, found in _lines(file, 0, 0) if number == chunk.n)
        if taken != line:
            raise ChunkTaken(f"chunk {chunk.n} of {self._path} was written by somebody else")

    def _chunk(self, number: int, offset: int, line: bytes) -> Chunk:
        body, crc = line[:-CRC_BYTES], line[-CRC_BYTES:]
        if crc != _crc(body):
            raise LedgerCorrupt(self._path, number + 1, offset, "its checksum does not match")
        try:
            chunk = Chunk.model_validate_json(body + b"}")
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            raise LedgerCorrupt(self._path, number + 1, offset, f"it is no chunk: {problem['msg']}") from None
        if chunk.n != number:
            raise LedgerCorrupt(self._path, number + 1, offset, f"it says that it is chunk {chunk.n}")
        return chunk


def line_of(chunk: Chunk) -> bytes:
    """A chunk as it stands in the file."""
    body = chunk.model_dump_json(by_alias=True).encode()[:-1]
    return body + _crc(body)


def _crc(body: bytes) -> bytes:
    return b',"crc":"%08x"}\n' % crc32(body)


def _lines(file: int, offset: int, number: int) -> Iterator[tuple[int, int, bytes]]:
    """Finished lines from an offset on: number, offset and bytes of each."""
    rest = b""
    position = offset
    while block := os.pread(file, READ_BYTES, position):
        position += len(block)
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield number, offset, line + b"\n"
            number, offset = number + 1, offset + len(line) + 1


def _opened(path: Path) -> int:
    is_new = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    if is_new:  # or a crash of the machine could lose the name of what was synced
        for folder in list(path.parents)[:3]:
            sync_folder(folder)
    return file


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Errors of the operating system in the words of this package."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFull(f"no room is left for {path}; free some, and it goes on by itself") from error
        raise StoreError(f"{path} cannot be written: {error.strerror or error}") from error
