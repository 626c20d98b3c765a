"""Garbage: which values and blobs of a store nothing refers to.

What refers to one names it by its hash, as text: in a ledger or an outcome log, in what hooks left in caches,
checkpoints and archives, or in another value. So all of these are searched for hashes, whatever they mean;
that may keep something in vain, and cannot lose anything.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple, Protocol, TypeAlias

Kind: TypeAlias = Literal["checkpoints", "drafts", "values", "blobs"]

_LENGTH = 64
_DIGITS = bytes(byte if byte in b"0123456789abcdef" else ord(" ") for byte in range(256))

LOOKED_INTO = (".json", ".pkl", ".bin")
"""Ends of names of what may refer to others; arrays and frames hold numbers."""


class Piece(NamedTuple):
    """Something that may be deleted by itself.

    Args:
        kind: What it is.
        key: Its name below the store.
        size: In bytes.
        at: When it was last written, in seconds since 1970.
        owner: The sweep or experiment that it belongs to; empty when all share it.
    """

    kind: Kind
    key: str
    size: int
    at: float
    owner: str = ""


class Kept(Protocol):
    """What a store keeps under the hash of its content, and what may refer to it."""

    def pieces(self) -> Iterable[Piece]:
        """Its values and blobs."""
        ...

    def referring(self) -> Iterable[Iterable[bytes]]:
        """The content, block by block, of everything else that may refer to them."""
        ...

    def content(self, piece: Piece) -> Iterable[bytes]:
        """The content of a value or blob, block by block; nothing when it is gone."""
        ...


def unreferenced(kept: Kept, before: float) -> list[Piece]:
    """Values and blobs that are older than all that may not be recorded yet, and that nothing refers to.

    Args:
        kept: The store.
        before: What was written later is left, in seconds since 1970.

    Raises:
        StoreError: When something cannot be read that may refer to them.
    """
    # listed first: what is recorded from here on counts on nothing that has not become new before
    pieces = list(kept.pieces())
    by_hash: defaultdict[bytes, list[Piece]] = defaultdict(list)
    for piece in pieces:
        by_hash[_hash_of(piece)].append(piece)
    found = {name for blocks in kept.referring() for name in hashes_in(blocks) if name in by_hash}
    found |= {_hash_of(piece) for piece in pieces if piece.at >= before}
    needed: set[bytes] = set()
    while found:
        needed.add(name := found.pop())
        for piece in by_hash[name]:
            if piece.key.endswith(LOOKED_INTO):
                found |= {other for other in hashes_in(kept.content(piece)) if other in by_hash} - needed
    return [piece for piece in pieces if _hash_of(piece) not in needed]


def hashes_in(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """All hashes that stand somewhere in a text, also across its blocks.

    >>> list(hashes_in([b"value:" + b"a" * 60, b"a" * 4 + b":train"])) == [b"a" * 64]
    True
    """
    rest = b""
    for block in blocks:
        text = rest + block
        for word in text.translate(_DIGITS).split():  # faster than a regular expression
            for start in range(len(word) - _LENGTH + 1):  # one may begin within another
                yield word[start : start + _LENGTH]
        rest = text[1 - _LENGTH :]


def _hash_of(piece: Piece) -> bytes:
    return piece.key.rpartition("/")[2].partition(".")[0].encode()
