"""Hashes are found in whatever text, and what is found through them is needed."""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from metta.sweep.stores.garbage import Piece, hashes_in, unreferenced

HASH = st.binary(max_size=4).map(lambda data: sha256(data).hexdigest())


def in_blocks(text: bytes, cuts: Sequence[int]) -> Iterator[bytes]:
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    for begin, end in pairwise(places):
        yield text[begin:end]


@given(
    before=st.binary(max_size=80), name=HASH, after=st.binary(max_size=80), cuts=st.lists(st.integers(0, 300))
)
def test_a_hash_is_found_wherever_blocks_end_and_whatever_stands_around_it(
    before: bytes, name: str, after: bytes, cuts: list[int]
) -> None:
    assert name.encode() in set(hashes_in(in_blocks(before + name.encode() + after, cuts)))


@given(names=st.lists(HASH, min_size=2, max_size=4))
def test_hashes_that_stand_together_are_all_found(names: list[str]) -> None:
    assert {name.encode() for name in names} <= set(hashes_in(["".join(names).encode()]))


class Memory:
    """A store in memory: blobs and what each refers to, and what refers to them from outside.

    Args:
        blobs: What each of them refers to, and when it was written.
        roots: To which of them others refer.
    """

    def __init__(self, blobs: Sequence[tuple[set[int], float]], roots: Iterable[int]) -> None:
        self._blobs, self._roots = blobs, roots

    def pieces(self) -> list[Piece]:
        return [Piece("blobs", f"data/{_name(n)}.json", 1, at) for n, (_, at) in enumerate(self._blobs)]

    def referring(self) -> Iterator[list[bytes]]:
        for root in self._roots:
            yield [b"{", _name(root).encode(), b"}"]

    def content(self, piece: Piece) -> list[bytes]:
        number = self.pieces().index(piece)
        return [f'"{_name(other)}"'.encode() for other in self._blobs[number][0]]


def _name(number: int) -> str:
    return sha256(f"{number}".encode()).hexdigest()


BLOBS = st.lists(
    st.tuples(st.sets(st.integers(0, 9), max_size=3), st.sampled_from([1.0, 3.0])), min_size=1, max_size=8
)


@given(blobs=BLOBS, roots=st.sets(st.integers(0, 9), max_size=3))
def test_what_cannot_be_reached_and_is_old_is_garbage_and_nothing_else(
    blobs: list[tuple[set[int], float]], roots: set[int]
) -> None:
    reached = {n for n in roots if n < len(blobs)} | {n for n, (_, at) in enumerate(blobs) if at >= 2.0}
    while more := {other for n in reached for other in blobs[n][0] if other < len(blobs)} - reached:
        reached |= more
    store = Memory(blobs, roots)
    assert unreferenced(store, before=2.0) == [p for n, p in enumerate(store.pieces()) if n not in reached]
