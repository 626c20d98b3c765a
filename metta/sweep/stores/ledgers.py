"""Ledgers on a file system: JSON lines, one chunk a line, each with its checksum."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_UN, flock
from pathlib import Path
from stat import S_IMODE
from tempfile import NamedTemporaryFile
from zlib import crc32

from pydantic import ValidationError

from metta.sweep.contracts.chunks import Chunk
from metta.sweep.contracts.errors import ChunkTaken, LedgerCorrupt, StoreError, StoreFull
from metta.sweep.contracts.failures import FREE_SOME, NO_ROOM
from metta.sweep.contracts.models import Numbered
from metta.sweep.stores.base import Ledger, LineT, Log

CRC_BYTES = len(',"crc":"00000000"}\n')
READ_BYTES = 1 << 20

SNAPSHOT = "snapshot.jsonl"

EDGE = 256
"""So many bytes at its beginning and before a snapshot's place tell one ledger from another."""

FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


class FileLog(Log[LineT]):
    """One append-only file of chunks, each of which knows its number ``n``.

    A line is a chunk as JSON, whose last field ``crc`` is the CRC-32 of the bytes before that field.
    A line without its newline was never acknowledged: readers pass over it, the next writer cuts it
    off. Anything else that does not match its checksum is damage, and nobody writes behind damage.

    Args:
        path: The file; it and its folder are made by the first commit.
    """

    model: type[LineT]

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
        with told(self._path, "read"), suppress(FileNotFoundError), self._path.open("rb") as file:
            return file.readline().endswith(b"\n")
        return False

    def commit(self, chunk: LineT) -> None:
        """Make a chunk number ``chunk.n``; see ``Ledger.commit``. Takes a lock and an fsync."""
        line = line_of(chunk)
        with told(self._path, "written"), self._locked() as file:
            self._read_on(file)
            if chunk.n < self._lines:
                self._check_mine(file, chunk, line)
            elif chunk.n > self._lines:
                raise StoreError(f"{self._path} has {self._lines} chunks; number {chunk.n} does not follow")
            else:
                self._append(file, line)

    def read(self, after: int = -1) -> Iterator[LineT]:
        """All chunks above ``after``; what is being written meanwhile may or may not be among them."""
        start = self._read if self._read[0] <= after + 1 else (0, 0)
        for number, offset, line in self._finished(*start):
            if number > after:
                yield self._chunk(number, offset, line)
            self._read = (number + 1, offset + len(line))

    def has_more(self) -> bool:
        """Whether the file is longer, or shorter, than up to the last line that was read or written here."""
        try:
            return self._path.stat().st_size != self._read[1]
        except FileNotFoundError:
            return False

    def mark(self) -> str:
        """See ``Log.mark``."""
        with told(self._path, "read"), suppress(FileNotFoundError):
            return self._fingerprint(self._read[1])
        return ""

    def close(self) -> None:
        """Give back the file, and what is known of it; the next commit opens it again."""
        if self._file is not None:
            os.close(self._file)
        self._file, self._offset, self._lines = None, 0, 0

    def __del__(self) -> None:
        """Give back the file of a log that nobody closed."""
        if self._file is not None:
            os.close(self._file)

    def _fingerprint(self, offset: int) -> str:
        """What only this log has at its beginning, and before an offset."""
        size = min(EDGE, offset)
        with self._path.open("rb") as file:
            begin, end = (os.pread(file.fileno(), size, at) for at in (0, offset - size))
        return f"{crc32(end, crc32(begin)):08x}"

    # --- writing ---

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
            if self._file is not None:  # closing has unlocked it already
                flock(file, LOCK_UN)

    def _read_on(self, file: int) -> None:
        """Learn what others have written, and cut off a line that was never finished."""
        size = os.fstat(file).st_size
        if size < self._offset:
            raise StoreError(
                f"{self._path} has lost its end while it was in use: {size} bytes are left of"
                f" {self._offset}; nothing more is written"
            )
        if size == self._offset:
            return
        for number, offset, line in _lines(file, self._lines, self._offset):
            self._check(number, offset, line)
            self._lines, self._offset = number + 1, offset + len(line)
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
            self.close()  # after a failed fsync the page cache cannot be trusted: read the file anew
            raise
        is_read = self._read == (self._lines, self._offset)
        self._lines, self._offset = self._lines + 1, self._offset + len(line)
        if is_read:
            self._read = self._lines, self._offset

    def _check_mine(self, file: int, chunk: LineT, line: bytes) -> None:
        os.fsync(file)  # whoever wrote it may have died before; it is acted on from here on
        taken = next(found for number, _, found in _lines(file, 0, 0) if number == chunk.n)
        if taken != line:
            raise ChunkTaken(f"chunk {chunk.n} of {self._path} was written by somebody else")

    # --- reading ---

    def _finished(self, number: int, offset: int) -> Iterator[tuple[int, int, bytes]]:
        """Finished lines from an offset on; none when there is no file."""
        with (
            told(self._path, "read"),
            suppress(FileNotFoundError),
            self._path.open("rb") as file,
        ):
            yield from _lines(file.fileno(), number, offset)

    def _check(self, number: int, offset: int, line: bytes) -> None:
        try:
            check(line)
        except Damage as damage:
            raise LedgerCorrupt(self._path, number + 1, offset, str(damage)) from None

    def _chunk(self, number: int, offset: int, line: bytes) -> LineT:
        try:
            return chunk_of(self.model, number, line, str(self._path))
        except Damage as damage:
            raise LedgerCorrupt(self._path, number + 1, offset, str(damage)) from None


class FileLedger(FileLog[Chunk], Ledger):
    """The ledger of a sweep."""

    model = Chunk

    def keep_snapshot(self, n: int, data: bytes) -> None:
        """Keep a snapshot in a file beside the ledger; its first line tells where it belongs."""
        if n + 1 != self._lines:  # somebody else has written behind it
            return
        offset = self._offset
        with told(self._beside, "written"):
            place = f"{n} {offset} {self._fingerprint(offset)} {crc32(data):08x}\n"
            mode = S_IMODE(self._path.stat().st_mode)  # whoever may read the ledger may read this
            write_whole(self._beside, place.encode() + data, sync=False, mode=mode)

    def snapshot(self) -> bytes | None:
        """See ``Ledger.snapshot``."""
        try:
            place, _, data = self._beside.read_bytes().partition(b"\n")
            n, offset, fingerprint, crc = place.decode().split()
            # it is of a ledger that is gone, or the machine crashed before all of it was written
            if (fingerprint, crc) != (self._fingerprint(int(offset)), f"{crc32(data):08x}"):
                return None
        except (OSError, ValueError):  # the ledger tells what there is without it
            return None
        self._read = int(n) + 1, int(offset)
        return data

    @property
    def _beside(self) -> Path:
        return self._path.with_name(SNAPSHOT)


class Damage(Exception):
    """A line is not what was written; says why."""


def line_of(chunk: Numbered) -> bytes:
    """A chunk as it stands in the file."""
    body = chunk.model_dump_json(by_alias=True).encode()[:-1]
    return body + _crc(body)


def check(line: bytes) -> None:
    """Hold a line against its checksum.

    Raises:
        Damage: When it does not match.
    """
    if line[-CRC_BYTES:] != _crc(line[:-CRC_BYTES]):
        raise Damage("its checksum does not match")


def chunk_of(model: type[LineT], number: int, line: bytes, place: str) -> LineT:
    """The chunk that a line is.

    Args:
        model: What its log is made of.
        number: The number that it has to have.
        line: The line.
        place: Where it lies, for errors.

    Raises:
        Damage: When it is none, or not that one.
        StoreError: When it is written in a newer format.
    """
    check(line)
    try:
        chunk = model.model_validate_json(line[:-CRC_BYTES] + b"}")
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        if problem["loc"] == ("schema",):
            raise StoreError(
                f"{place} is written in format {problem['input']}, which this version does not know;"
                " read it with the newer version of metta-sweep that wrote it"
            ) from None
        raise Damage(f"it is no chunk: {problem['msg']}") from None
    if chunk.n != number:
        raise Damage(f"it says that it is chunk {chunk.n}")
    return chunk


def _crc(body: bytes) -> bytes:
    return b',"crc":"%08x"}\n' % crc32(body)


def _lines(file: int, number: int, offset: int) -> Iterator[tuple[int, int, bytes]]:
    """Finished lines from an offset on: number, offset and bytes of each."""
    size = READ_BYTES
    # each line is read at once from its beginning: a torn one may meanwhile be cut off and overwritten
    while block := os.pread(file, size, offset):
        lines = block.split(b"\n")[:-1]
        if not lines:
            if len(block) < size:
                return
            size *= 2
        for line in lines:
            yield number, offset, line + b"\n"
            number, offset = number + 1, offset + len(line) + 1


def _opened(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        # or a crash of the machine could lose the name of what was synced; always, because who made
        # the file may have died before this
        for folder in path.absolute().parents[:3]:
            sync_folder(folder)
    except OSError:
        os.close(file)
        raise
    return file


def write_whole(path: Path, data: bytes, *, sync: bool, mode: int | None = None) -> None:
    """Write a file so that others find all of it or nothing.

    Args:
        path: The file.
        data: Its content.
        sync: Whether that holds after a crash of the machine, too.
        mode: Who may read it; None keeps it private, as launches may hold keys of a server.
    """
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as file:
        try:
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            if sync:
                os.fsync(file.fileno())
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink()
            raise


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def told(path: Path, done: str) -> Iterator[None]:
    """Errors of the operating system in the words of this package.

    Args:
        path: What is worked on.
        done: What is done with it: ``read``, ``written`` or ``made``.
    """
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise StoreFull(f"no room is left for {path}; {FREE_SOME}") from error
        what_to_do = "; allow it, or put the store elsewhere" if error.errno in FORBIDDEN else ""
        raise StoreError(f"{path} cannot be {done}: {error.strerror or error}{what_to_do}") from error
