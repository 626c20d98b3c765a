"""Ledgers and outcome logs in a bucket: an object a chunk, and segments that hold many."""

import logging
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from zlib import crc32

from metta.sweep.contracts.chunks import Chunk
from metta.sweep.contracts.errors import ChunkTaken, LedgerCorrupt, StoreError
from metta.sweep.contracts.outcomes import Line
from metta.sweep.stores.base import Ledger, LineT, Log, OutcomeLog
from metta.sweep.stores.ledgers import Damage, chunk_of, line_of
from metta.sweep.stores.objects import PAGE, Objects
from metta.sweep.stores.segments import CHUNKS, FAN, SEGMENTS, Run, Segments, chunk_key, lines_of

log = logging.getLogger(__name__)

SNAPSHOT = "snapshot.jsonl"

MERGE_S = 30.0
"""Merging that takes longer is left alone when a log is closed: it can end anywhere."""


class ObjectCorrupt(LedgerCorrupt):
    """An object of a log is not what was written.

    Args:
        path: Its address.
        line: Number of the chunk, from 1.
        offset: Where the chunk begins in the object, in bytes.
        why: What is wrong with it.
    """

    def __str__(self) -> str:
        where = str(self.path).replace("s3:/", "s3://", 1)  # a path does not keep two slashes
        way_out = (
            "Delete that object: it is a copy, and is made again from its chunks."
            if f"/{SEGMENTS}" in where
            else "Restore it from an earlier version of the object, or from a backup."
        )
        return (
            f"{where}, chunk {self.line - 1} (byte {self.offset}) is damaged: {self.why}."
            f" Nothing was changed. {way_out}"
        )


class ObjectLog(Log[LineT]):
    """Chunks below one name, each of which knows its number ``n``.

    ::

        chunks/000000000042.jsonl                   one line, as in a file
        segments/000000000000-000000000255.jsonl    the same lines again, one after the other

    A chunk is taken by writing its object on the condition that there is none, and stays there for ever.
    Every sixteenth commit merges behind it, in a thread; what fails there, the next one does.

    Args:
        objects: Where it lies.
    """

    model: type[LineT]

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._segments = Segments(objects)
        self._known = 0  # so many chunks are there for certain
        self._merging: Thread | None = None
        self._trouble = ""

    @property
    def uri(self) -> str:
        """Where it lies."""
        return self._objects.uri()

    def exists(self) -> bool:
        """Whether anything was committed to it."""
        return bool(self._objects.listed(CHUNKS, limit=1))

    def commit(self, chunk: LineT) -> None:
        """Make a chunk number ``chunk.n``; see ``Ledger.commit``. Takes one request."""
        line, key = line_of(chunk), chunk_key(chunk.n)
        if chunk.n > self._known and self._objects.size(chunk_key(chunk.n - 1)) is None:
            raise StoreError(f"{self.uri} has no chunk {chunk.n - 1}; number {chunk.n} does not follow")
        if not self._objects.create(key, line) and self._objects.get(key) != line:
            raise ChunkTaken(f"chunk {chunk.n} of {self.uri} was written by somebody else")
        self._known = max(self._known, chunk.n + 1)
        self._segments.keep(key, line)
        if (chunk.n + 1) % FAN == 0 and not (self._merging and self._merging.is_alive()):
            # a daemon: it may die with the process at any point
            self._merging = Thread(target=self._merge, args=(chunk.n + 1,), daemon=True)
            self._merging.start()

    def read(self, after: int = -1) -> Iterator[LineT]:
        """All chunks above ``after``; what is being written meanwhile may or may not be among them."""
        for number, key, offset, line in self._lines(after + 1):
            try:
                chunk = chunk_of(self.model, number, line, self._objects.uri(key))
            except Damage as damage:
                raise self._corrupt(key, number, offset, damage) from None
            self._known = max(self._known, number + 1)
            yield chunk

    def has_more(self) -> bool:
        """See ``Log.has_more``. Takes one request."""
        return self._objects.size(chunk_key(self._known)) is not None

    def mark(self) -> str:
        """See ``Log.mark``. Takes one request."""
        return self._fingerprint(self._known - 1) if self._known else ""

    def close(self) -> None:
        """Wait for what is being merged, unless its server is away."""
        if self._merging is not None:
            self._merging.join(MERGE_S)
        self._merging = None

    def _fingerprint(self, n: int) -> str:
        """What only this log has: the name of a chunk's writer stands in it."""
        return f"{crc32(self._objects.get(chunk_key(n)) or b''):08x}"

    def _merge(self, count: int) -> None:
        try:
            self._segments.merge(count)
        except (StoreError, Damage) as error:
            if str(error) != self._trouble:
                log.warning("chunks of %s are not merged, so reading them takes longer: %s", self.uri, error)
            self._trouble = str(error)

    # --- reading ---

    def _lines(self, number: int) -> Iterator[tuple[int, str, int, bytes]]:
        """Lines from a chunk on: number, object, offset and bytes of each."""
        keys = self._keys(number, FAN)
        if len(keys) == FAN:  # there may be a segment
            for run, data in self._segments.read(number):
                yield from (found for found in self._held(run, data) if found[0] >= number)
                number = run.last + 1
            keys = self._keys(number, PAGE)
        while keys:
            for key, line in zip(keys, self._objects.get_all(keys), strict=True):
                yield number, key, 0, line or b""
                number += 1
            keys = self._keys(number, PAGE) if len(keys) == PAGE else []

    def _held(self, run: Run, data: bytes) -> Iterator[tuple[int, str, int, bytes]]:
        try:
            lines = lines_of(data, run.size)
        except Damage as damage:
            raise self._corrupt(run.key, run.first, 0, damage) from None
        offset = 0
        for number, line in enumerate(lines, run.first):
            yield number, run.key, offset, line
            offset += len(line)

    def _keys(self, number: int, limit: int) -> list[str]:
        """Names of the next chunks' objects."""
        after = chunk_key(number - 1) if number else ""
        keys = [found.key for found in self._objects.listed(CHUNKS, after, limit)]
        for n, key in enumerate(keys, number):
            if key != chunk_key(n):
                raise self._corrupt(chunk_key(n), n, 0, f"it is missing, the next object is {key}")
        return keys

    def _corrupt(self, key: str, number: int, offset: int, why: object) -> LedgerCorrupt:
        return ObjectCorrupt(Path(self._objects.uri(key)), number + 1, offset, str(why))


class S3Ledger(ObjectLog[Chunk], Ledger):
    """The ledger of a sweep."""

    model = Chunk

    def keep_snapshot(self, n: int, data: bytes) -> None:
        """Keep a snapshot in an object beside the chunks."""
        self._objects.put(SNAPSHOT, f"{n} {self._fingerprint(n)}\n".encode() + data)

    def snapshot(self) -> bytes | None:
        """See ``Ledger.snapshot``."""
        place, _, data = (self._objects.get(SNAPSHOT) or b"").partition(b"\n")
        n, _, fingerprint = place.decode("ascii", "replace").partition(" ")
        if not n.isdigit() or fingerprint != self._fingerprint(int(n)):  # of a ledger that is gone
            return None
        self._known = int(n) + 1
        return data


class S3OutcomeLog(ObjectLog[Line], OutcomeLog):
    """The outcome log of an experiment."""

    model = Line
    is_near = False
