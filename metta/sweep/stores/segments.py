"""Segments: chunks of a log in the order of their numbers, many in one object.

A chunk's own object is never deleted or changed: it is the truth, and its name stays taken. Segments are
copies that spare a reader most of the requests. Sixteen chunks make a segment, sixteen segments a larger one,
which replaces them, and so on; so there are at most fifteen of each size. Which chunks a segment holds
follows from its name, and what it holds from the chunks: whoever makes it makes the same one.
"""

import re
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from metta.sweep.contracts.errors import StoreError
from metta.sweep.stores.ledgers import Damage, check
from metta.sweep.stores.objects import Objects

FAN = 16
"""So many chunks make a segment, and so many segments a larger one."""

LARGEST = 64 << 20
"""Segments do not grow beyond this, in bytes: each is written and read in one piece."""

CHUNKS = "chunks/"
SEGMENTS = "segments/"

_NAME = re.compile(rf"{SEGMENTS}(\d{{12}})-(\d{{12}})\.jsonl", re.ASCII)


class Run(NamedTuple):
    """Chunks in a row.

    >>> Run(16, 31).key, Run(16, 31).parent.key
    ('segments/000000000016-000000000031.jsonl', 'segments/000000000000-000000000255.jsonl')

    Args:
        first: Number of the first one.
        last: Number of the last one.
    """

    first: int
    last: int

    @property
    def size(self) -> int:
        """So many chunks."""
        return self.last - self.first + 1

    @property
    def key(self) -> str:
        """Name of the segment that holds them."""
        return f"{SEGMENTS}{self.first:012}-{self.last:012}.jsonl"

    @property
    def parent(self) -> "Run":
        """The next larger segment's chunks."""
        return run_at(self.first, self.size * FAN)

    @property
    def parts(self) -> "list[Run]":
        """The chunks of the segments that it is made of."""
        return [run_at(first, self.size // FAN) for first in range(self.first, self.last, self.size // FAN)]


def chunk_key(number: int) -> str:
    """Name of a chunk's own object.

    >>> chunk_key(42)
    'chunks/000000000042.jsonl'
    """
    return f"{CHUNKS}{number:012}.jsonl"


def run_at(number: int, size: int) -> Run:
    """The segment of a size that holds a chunk."""
    first = number - number % size
    return Run(first, first + size - 1)


def lines_of(data: bytes, count: int) -> list[bytes]:
    """Lines of an object.

    Raises:
        Damage: When there are not so many.
    """
    lines = [line + b"\n" for line in data.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    if lines[-1] or len(lines) - 1 != count:
        raise Damage(f"it holds {len(lines) - 1} of {count} chunks")
    return lines[:-1]


class _Overtaken(Exception):
    """Another writer has merged them already, and more."""


class Segments:
    """The segments of a log.

    Args:
        objects: Where the log lies.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._lately: dict[str, bytes] = {}

    def keep(self, key: str, line: bytes) -> None:
        """Remember a chunk that was just written, so that merging need not read it."""
        if len(self._lately) > 4 * FAN:  # nothing is merged
            self._lately.clear()
        self._lately[key] = line

    def read(self, number: int) -> Iterator[tuple[Run, bytes]]:
        """Segments that follow each other, the first of which holds a chunk; none when none holds it.

        Raises:
            StoreError: When they cannot be read.
        """
        runs, gone = self._listed(), None
        while run := largest(runs, number):
            data = self._objects.get(run.key)
            if data is not None:
                yield run, data
                number = run.last + 1
            elif run == gone:
                raise StoreError(f"{self._objects.uri(run.key)} is listed, but there is no such object")
            else:  # it was merged into a larger one meanwhile
                runs, gone = self._listed(), run

    def merge(self, count: int) -> None:
        """Make the segments that so many chunks can have, and delete those that larger ones replace.

        It can end anywhere, and be done by several at the same time.

        Raises:
            Damage: When a chunk is damaged; it is not copied.
            StoreError: When a segment cannot be read or written.
        """
        with suppress(_Overtaken):
            self._merge(count)

    def _merge(self, count: int) -> None:
        runs = self._listed()
        number = 0
        while number + FAN <= count:
            run = largest(runs, number) or run_at(number, FAN)
            if run not in runs:
                runs[run] = self._made(run, [chunk_key(n) for n in range(run.first, run.last + 1)])
            number = run.last + 1
        self._grow(runs)
        self._objects.delete([run.key for run in sorted(runs) if _replaced(run, runs)])

    def _grow(self, runs: dict[Run, int]) -> None:
        waiting = deque(sorted(runs, key=lambda run: (run.size, run.first)))
        while waiting:
            run = waiting.popleft().parent
            parts = run.parts
            if _replaced(parts[0], runs) or not all(part in runs for part in parts):
                continue
            if sum(runs[part] for part in parts) <= LARGEST:
                runs[run] = self._made(run, [part.key for part in parts])
                waiting.append(run)

    def _made(self, run: Run, keys: list[str]) -> int:
        """Write a segment, and say how large it is."""
        found = [self._lately.pop(key, None) for key in keys]
        if None in found:
            found = list(self._objects.get_all(keys))
        if None in found:
            raise _Overtaken
        data = b"".join(part or b"" for part in found)
        for line in lines_of(data, run.size):
            check(line)
        self._objects.create(run.key, data)
        return len(data)

    def _listed(self) -> dict[Run, int]:
        """Segments, and their sizes in bytes."""
        named = ((_NAME.fullmatch(found.key), found.size) for found in self._objects.listed(SEGMENTS))
        return {Run(int(name[1]), int(name[2])): size for name, size in named if name}


def largest(runs: dict[Run, int], number: int) -> Run | None:
    """The largest of the segments that hold a chunk."""
    sizes = sorted({run.size for run in runs}, reverse=True)
    return next((run for size in sizes if (run := run_at(number, size)) in runs), None)


def _replaced(run: Run, runs: dict[Run, int]) -> bool:
    """Whether a larger segment holds the same chunks."""
    return (found := largest(runs, run.first)) is not None and found.size > run.size
