"""Segments: few requests for many chunks, and nothing lost wherever merging ends or whoever else does it."""

from collections.abc import Callable, Iterator
from math import log

import pytest

from metta.sweep.contracts.errors import ChunkTaken, LedgerCorrupt, StoreError
from metta.sweep.stores import object_logs, segments
from metta.sweep.stores.ledgers import Damage, line_of
from metta.sweep.stores.object_logs import S3Ledger
from metta.sweep.stores.objects import Objects
from metta.sweep.stores.segments import Run, Segments, chunk_key
from tests.stores.asked import Asked
from tests.stores.chunks import chunk
from tests.stores.weed import BUCKET, Weed

WRITES = ("PutObject", "DeleteObjects")
COUNT = 11
"""Where two make a segment: segments of 8 and 2 chunks, and a chunk alone."""

MERGED = ["000000000000-000000000007", "000000000008-000000000009"]


class Crash(BaseException):
    """The process ends here."""


@pytest.fixture
def twos(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two make a segment, so that there are many sizes."""
    monkeypatch.setattr(segments, "FAN", 2)
    monkeypatch.setattr(object_logs, "FAN", 2)


@pytest.fixture
def another(weed: Weed, objects: Objects) -> Iterator[Objects]:
    """The same objects, for somebody else."""
    client = weed.client()
    yield Objects(BUCKET, objects.prefix, client)
    client.close()


def fill(objects: Objects, count: int, first: int = 0) -> None:
    """Chunks that nobody has merged."""
    for n in range(first, count):
        assert objects.create(chunk_key(n), line_of(chunk(n)))


def names(objects: Objects) -> list[str]:
    return [found.key.split("/")[1].split(".")[0] for found in objects.listed("segments/")]


def is_whole(objects: Objects, count: int) -> bool:
    """Whether all chunks are read, and each segment holds what its name says."""
    for name in names(objects):
        first, last = map(int, name.split("-"))
        lines = b"".join(line_of(chunk(n)) for n in range(first, last + 1))
        assert objects.get(f"segments/{name}.jsonl") == lines
    return list(S3Ledger(objects).read()) == [chunk(n) for n in range(count)]


# --- what is merged ---


def test_sixteen_make_a_segment_and_sixteen_of_those_a_larger_one(objects: Objects) -> None:
    ledger = S3Ledger(objects)
    for n in range(16 * 17 + 3):
        ledger.commit(chunk(n))
        if n % 16 == 15:
            ledger.close()  # the next one merges what was left over, but a test has to know when
    assert names(objects) == ["000000000000-000000000255", "000000000256-000000000271"]
    assert is_whole(objects, 16 * 17 + 3)


def test_a_reader_of_many_chunks_asks_few_times(objects: Objects) -> None:
    count = 16 * 16 + 5 * 16 + 7
    fill(objects, count)
    Segments(objects).merge(count)
    with Asked(objects) as asked:
        assert [found.n for found in S3Ledger(objects).read()] == [*range(count)]
        assert asked.names.count("GetObject") == 1 + 5 + 7
        assert asked.names.count("ListObjectsV2") == 3
        assert len(asked.names) <= 15 * log(count, 16) + 15 + 3
        del asked.names[:]
        assert [found.n for found in S3Ledger(objects).read(count - 3)] == [count - 2, count - 1]
        assert sorted(asked.names) == ["GetObject"] * 2 + ["ListObjectsV2"]


@pytest.mark.usefixtures("twos")
@pytest.mark.parametrize("after", [-1, 0, 3, 6, 7, 8, 9, 10])
def test_reading_begins_anywhere_in_a_segment(objects: Objects, after: int) -> None:
    fill(objects, COUNT)
    Segments(objects).merge(COUNT)
    assert names(objects) == MERGED
    ledger = S3Ledger(objects)
    assert [found.n for found in ledger.read(after)] == [*range(after + 1, COUNT)]


def test_what_is_being_written_waits_for_no_merging(objects: Objects) -> None:
    ledger = S3Ledger(objects)
    with Asked(objects, kinds=("PutObject",)) as asked:
        for n in range(16):
            ledger.commit(chunk(n))
        ledger.close()
        assert len(asked.names) == 17
        ledger.close()
    assert names(objects) == ["000000000000-000000000015"]


def test_a_writer_merges_its_own_chunks_without_reading_them(objects: Objects) -> None:
    ledger = S3Ledger(objects)
    with Asked(objects) as asked:
        for n in range(16):
            ledger.commit(chunk(n))
        ledger.close()
        assert "GetObject" not in asked.names
    assert is_whole(objects, 16)


def test_a_stale_writer_loses_to_a_chunk_that_is_merged(objects: Objects) -> None:
    fill(objects, 32)
    Segments(objects).merge(32)
    for n in (0, 15, 31):
        with pytest.raises(ChunkTaken):
            S3Ledger(objects).commit(chunk(n, "stale"))
        S3Ledger(objects).commit(chunk(n))  # a lost reply, even now
    assert is_whole(objects, 32)


@pytest.mark.usefixtures("twos")
def test_segments_do_not_grow_beyond_their_largest_size(
    objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "LARGEST", 5 * len(line_of(chunk(0))))
    fill(objects, 8)
    Segments(objects).merge(8)
    assert names(objects) == ["000000000000-000000000003", "000000000004-000000000007"]
    assert is_whole(objects, 8)


def test_a_ledger_that_cannot_be_merged_is_read_all_the_same(
    weed: Weed, objects: Objects, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = S3Ledger(objects)
    fill(objects, 15)

    def refuse(params: dict[str, object], **_: object) -> None:
        if "/segments/" in str(params["url_path"]):
            raise StoreError("no segments here")

    objects.client.meta.events.register("before-call.s3.PutObject", refuse)
    ledger.commit(chunk(15))
    ledger.close()
    assert "are not merged, so reading them takes longer: no segments here" in caplog.text
    assert is_whole(objects, 16)


# --- wherever it ends ---


def ended_at(objects: Objects, when: str, number: int) -> bool:
    """Merge until a request, and end before or after it is carried out; whether there was such a one."""

    def end(n: int) -> None:
        if n == number:
            raise Crash

    with Asked(objects, kinds=WRITES, **{when: end}):
        try:
            Segments(objects).merge(COUNT)
        except Crash:
            return True
    return False


@pytest.mark.usefixtures("twos")
@pytest.mark.parametrize("when", ["before", "after"])
def test_merging_that_ends_anywhere_loses_nothing_and_is_made_good(objects: Objects, when: str) -> None:
    fill(objects, COUNT)
    number = 0
    while ended_at(objects, when, number):
        assert is_whole(objects, COUNT)
        Segments(objects).merge(COUNT)
        assert names(objects) == MERGED
        assert is_whole(objects, COUNT)
        objects.delete([found.key for found in objects.listed("segments/")])
        number += 1
    assert number == 5 + 2 + 1 + 1


@pytest.mark.usefixtures("twos")
def test_merging_that_ends_again_and_again_comes_to_an_end(objects: Objects) -> None:
    fill(objects, COUNT)
    ends = 0
    while ended_at(objects, "after", 0):
        assert is_whole(objects, COUNT)
        ends += 1
    assert ends >= 5 + 2 + 1
    assert names(objects) == MERGED


# --- several at the same time ---


def meanwhile(objects: Objects, number: int, happens: Callable[[], object]) -> Asked:
    """Lets something happen right before a request."""

    def before(n: int) -> None:
        if n == number:
            happens()

    return Asked(objects, before)


@pytest.mark.usefixtures("twos")
def test_two_that_merge_at_the_same_time_are_harmless(objects: Objects, another: Objects) -> None:
    fill(objects, COUNT + 5)
    number = requests = 0
    while number <= requests:
        assert ended_at(objects, "before", 5)  # so that both find something to merge
        with meanwhile(objects, number, lambda: Segments(another).merge(COUNT + 5)) as asked:
            Segments(objects).merge(COUNT)
        requests = len(asked.names)
        assert is_whole(objects, COUNT + 5)
        Segments(objects).merge(COUNT + 5)
        assert names(objects) == ["000000000000-000000000015"]
        objects.delete([found.key for found in objects.listed("segments/")])
        number += 1
    assert number > 10


@pytest.mark.usefixtures("twos")
def test_a_reader_beside_one_that_merges_sees_each_chunk_once(objects: Objects, another: Objects) -> None:
    fill(objects, COUNT)
    number = requests = 0
    while number <= requests:
        Segments(another).merge(6)
        found: list[int] = []
        with meanwhile(objects, number, lambda: Segments(another).merge(COUNT)) as asked:
            found += [each.n for each in S3Ledger(objects).read()]
        requests = len(asked.names)
        assert found == [*range(COUNT)]
        objects.delete([each.key for each in objects.listed("segments/")])
        number += 1
    assert number > 5


# --- damage ---


def damaged(data: bytes | None) -> bytes:
    assert data
    return data.replace(b'"loss":0.1', b'"loss":0.2', 1)


def test_damage_in_a_segment_is_told_and_mended_by_deleting_it(objects: Objects) -> None:
    fill(objects, 20)
    Segments(objects).merge(20)
    [key] = [found.key for found in objects.listed("segments/")]
    sound = objects.get(key)
    assert sound
    cut_off = sound[: sound.rindex(b"\n", 0, -1) + 1]
    for content in [damaged(sound), b"", sound[:-1], cut_off, sound + b"{}\n"]:
        objects.put(key, content)
        with pytest.raises(LedgerCorrupt, match=f"{objects.uri(key)}, chunk 0 .* is damaged") as error:
            list(S3Ledger(objects).read())
        assert "Delete that object: it is a copy, and is made again from its chunks." in str(error.value)
    lines = sound.splitlines(keepends=True)
    objects.put(key, b"".join([*lines[:3], damaged(lines[3]), *lines[4:]]))
    read = S3Ledger(objects).read()
    assert [next(read).n for _ in range(3)] == [0, 1, 2]
    with pytest.raises(LedgerCorrupt) as error:
        next(read)
    assert (error.value.line, error.value.offset) == (4, sum(map(len, lines[:3])))
    objects.delete([key])
    assert is_whole(objects, 20)
    Segments(objects).merge(20)
    assert objects.get(key) == sound


def test_damage_is_not_copied_into_a_segment(objects: Objects) -> None:
    fill(objects, 16)
    objects.put(chunk_key(5), damaged(objects.get(chunk_key(5))))
    with pytest.raises(Damage):
        Segments(objects).merge(16)
    assert names(objects) == []


def test_other_objects_among_segments_are_passed_over(objects: Objects) -> None:
    fill(objects, 16)
    objects.put("segments/notes.txt", b"by hand")
    Segments(objects).merge(16)
    assert [found.n for found in S3Ledger(objects).read()] == [*range(16)]
    assert Run(0, 15).key in [found.key for found in objects.listed("segments/")]
