"""The ledger in a bucket: what is committed is read, each number is taken once, and damage is told."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import cast
from uuid import uuid4

import pytest

from metta.sweep.contracts.errors import ChunkTaken, LedgerCorrupt, StoreError
from metta.sweep.contracts.outcomes import Began
from metta.sweep.stores.ledgers import FileLedger, line_of
from metta.sweep.stores.object_logs import S3Ledger, S3OutcomeLog
from metta.sweep.stores.objects import Objects
from metta.sweep.stores.outcomes import FileOutcomeLog, Outcomes
from metta.sweep.stores.segments import chunk_key
from tests.stores.asked import Asked
from tests.stores.chunks import chunk
from tests.stores.cut import Cut
from tests.stores.test_ledgers import with_checksum
from tests.stores.weed import Weed


@pytest.fixture
def ledger(objects: Objects) -> Iterator[S3Ledger]:
    ledger = S3Ledger(objects)
    yield ledger
    ledger.close()


@pytest.fixture
def three(ledger: S3Ledger) -> None:
    for n in range(3):
        ledger.commit(chunk(n))


@pytest.fixture
def cut(weed: Weed) -> Iterator[Cut]:
    cut = Cut(weed.port)
    yield cut
    cut.close()


def numbers(objects: Objects, after: int = -1) -> list[int]:
    return [found.n for found in S3Ledger(objects).read(after)]


# --- what is written is read ---


def test_it_is_the_file_ledger_cut_into_objects(objects: Objects, ledger: S3Ledger, tmp_path: Path) -> None:
    file = FileLedger(tmp_path / "ledger.jsonl")
    for n in range(20):
        for each in (ledger, file):
            each.commit(chunk(n, size=n * 1000))
    ledger.close()
    content = (tmp_path / "ledger.jsonl").read_bytes()
    found = objects.listed("chunks/")
    assert [f.key for f in found] == [f"chunks/{n:012}.jsonl" for n in range(20)]
    assert b"".join(objects.get(f.key) or b"" for f in found) == content
    assert list(S3Ledger(objects).read()) == list(file.read())
    file.close()


def test_it_exists_from_the_first_chunk_on(objects: Objects, ledger: S3Ledger) -> None:
    assert not ledger.exists()
    assert list(ledger.read()) == []
    ledger.commit(chunk(0))
    assert S3Ledger(objects).exists()
    assert ledger.uri == objects.uri()
    assert re.fullmatch(r"s3://artifacts/tests/[0-9a-f]{32}/", ledger.uri)


@pytest.mark.usefixtures("three")
def test_reading_goes_on_after_any_chunk_and_back(objects: Objects, ledger: S3Ledger) -> None:
    for after in (1, 0, 2, -1, 3, 1):
        assert [found.n for found in ledger.read(after)] == numbers(objects, after) == [*range(after + 1, 3)]
    assert next(ledger.read()).n == 0  # one that is not read to its end
    assert [found.n for found in ledger.read(0)] == [1, 2]


@pytest.mark.usefixtures("three")
def test_a_commit_is_one_request_and_so_is_finding_nothing_new(objects: Objects, ledger: S3Ledger) -> None:
    with Asked(objects) as asked:
        ledger.commit(chunk(3))
        assert asked.names == ["PutObject"]
        assert list(ledger.read(3)) == []
        assert asked.names[1:] == ["ListObjectsV2"]
        assert [found.n for found in ledger.read(2)] == [3]
        assert asked.names[2:] == ["ListObjectsV2", "GetObject"]


def test_large_chunks_are_chunks_too(objects: Objects, ledger: S3Ledger) -> None:
    ledger.commit(chunk(0, size=12 << 20))
    assert list(S3Ledger(objects).read()) == [chunk(0, size=12 << 20)]


def test_outcomes_are_recorded_in_the_same_way(objects: Objects) -> None:
    began = Began(recorded=1.0, run="run", experiment="module:Class", fingerprint="f")
    # the class asks no more of a log than both have
    outcomes = Outcomes(cast(FileOutcomeLog, S3OutcomeLog(objects)))
    outcomes.add(began)
    assert outcomes.began == began
    assert list(S3OutcomeLog(objects).entries()) == [began]
    outcomes.close()


# --- each number is taken once ---


@pytest.mark.usefixtures("three")
def test_the_same_chunk_again_is_a_lost_reply_and_a_success(objects: Objects) -> None:
    for n in (0, 2, 1):
        S3Ledger(objects).commit(chunk(n))
    assert numbers(objects) == [0, 1, 2]


@pytest.mark.usefixtures("three")
def test_a_number_that_is_taken_is_refused(objects: Objects) -> None:
    late = S3Ledger(objects)
    for n in (0, 2):
        with pytest.raises(ChunkTaken, match=f"chunk {n} of s3://.* was written by somebody else"):
            late.commit(chunk(n, "late"))
    assert [found.writer for found in late.read()] == ["me"] * 3
    late.commit(chunk(3, "late"))
    assert numbers(objects) == [0, 1, 2, 3]


@pytest.mark.usefixtures("three")
def test_a_number_that_does_not_follow_is_refused(objects: Objects) -> None:
    with pytest.raises(StoreError, match="has no chunk 4; number 5 does not follow"):
        S3Ledger(objects).commit(chunk(5))
    assert numbers(objects) == [0, 1, 2]


# --- lost replies ---


@pytest.mark.usefixtures("three")
def test_a_lost_reply_is_asked_for_again(weed: Weed, objects: Objects, cut: Cut) -> None:
    ledger = S3Ledger(Objects("artifacts", objects.prefix, weed.client(url=cut.url)))
    cut.lose(b"PUT ", times=1)
    ledger.commit(chunk(3))
    assert cut.lost == 1
    assert [found.writer for found in S3Ledger(objects).read()] == ["me"] * 4


@pytest.mark.usefixtures("three")
def test_a_chunk_whose_reply_never_came_is_committed_by_trying_again(
    weed: Weed, objects: Objects, cut: Cut
) -> None:
    ledger = S3Ledger(Objects("artifacts", objects.prefix, weed.client(url=cut.url, tries=1)))
    cut.lose(b"PUT ", times=1)
    with pytest.raises(StoreError, match=r"127.0.0.1:\d+ cannot be reached for s3://.*0003.jsonl"):
        ledger.commit(chunk(3))
    assert numbers(objects) == [0, 1, 2, 3]
    with pytest.raises(ChunkTaken):
        S3Ledger(objects).commit(chunk(3, "another"))
    ledger.commit(chunk(3))
    ledger.commit(chunk(4))
    assert numbers(objects) == [0, 1, 2, 3, 4]


def test_a_reply_that_breaks_off_is_read_again(weed: Weed, objects: Objects, cut: Cut) -> None:
    S3Ledger(objects).commit(chunk(0, size=1 << 20))
    ledger = S3Ledger(Objects("artifacts", objects.prefix, weed.client(url=cut.url)))
    cut.lose(b"GET /artifacts/tests", times=2, keep=20_000)
    assert list(ledger.read()) == [chunk(0, size=1 << 20)]
    assert cut.lost == 2


# --- damage ---


@pytest.mark.usefixtures("three")
def test_an_object_that_is_torn_or_changed_is_found(objects: Objects) -> None:
    line = line_of(chunk(1))
    changed = [
        line[:position] + bytes([line[position] ^ 1]) + line[position + 1 :] for position in (0, 9, -9)
    ]
    for content in [b"", line[:-1], line[:40], line * 2, b"{}\n", *changed]:
        objects.put(chunk_key(1), content)
        read = S3Ledger(objects).read()
        assert next(read) == chunk(0)
        with pytest.raises(LedgerCorrupt) as error:
            next(read)
        assert (error.value.line, error.value.offset) == (2, 0)
        assert str(error.value) == (
            f"{objects.uri(chunk_key(1))}, chunk 1 (byte 0) is damaged: its checksum does not match."
            " Nothing was changed. Restore it from an earlier version of the object, or from a backup."
        )


@pytest.mark.usefixtures("three")
def test_a_chunk_that_is_missing_is_found(objects: Objects) -> None:
    objects.delete([chunk_key(1)])
    with pytest.raises(LedgerCorrupt, match=r"chunk 1 .* is missing, the next object is chunks/0{11}2.jsonl"):
        numbers(objects)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (line_of(chunk(7)), "it says that it is chunk 7"),
        (with_checksum(b'{"n":1,"writer":3,"epoch":1}'), "it is no chunk: Input should be a valid string"),
    ],
)
@pytest.mark.usefixtures("three")
def test_a_sound_line_that_is_no_chunk_or_not_this_one(objects: Objects, line: bytes, why: str) -> None:
    objects.put(chunk_key(1), line)
    with pytest.raises(LedgerCorrupt, match=why):
        numbers(objects)


@pytest.mark.usefixtures("three")
def test_a_newer_format_is_no_damage(objects: Objects) -> None:
    objects.put(chunk_key(1), with_checksum(b'{"n":1,"writer":"me","epoch":1,"schema":2}'))
    with pytest.raises(StoreError, match=r"0001\.jsonl is written in format 2, which this") as error:
        numbers(objects)
    assert not isinstance(error.value, LedgerCorrupt)


def test_ledgers_of_one_store_do_not_mix(objects: Objects) -> None:
    names = ["a", "a/b", "a0", uuid4().hex]
    for name in names:
        S3Ledger(objects.below(name)).commit(chunk(0, name))
    for name in names:
        assert [found.writer for found in S3Ledger(objects.below(name)).read()] == [name]


# --- snapshots ---


def test_a_snapshot_is_of_the_chunk_that_it_was_made_at(
    ledger: S3Ledger, three: None, objects: Objects
) -> None:
    ledger.keep_snapshot(2, b"told")
    reader = S3Ledger(objects)
    assert (reader.snapshot(), [found.n for found in reader.read(2)]) == (b"told", [])
    assert not reader.has_more()
    ledger.commit(chunk(3))
    assert reader.has_more()
    assert [found.n for found in reader.read(2)] == [3]
    objects.delete([chunk_key(3), chunk_key(2)])  # somebody goes back to an earlier version of the bucket
    assert S3Ledger(objects).snapshot() is None
    ledger = S3Ledger(objects)
    ledger.commit(chunk(2, writer="another"))
    assert S3Ledger(objects).snapshot() is None


def test_a_ledger_has_a_mark_that_another_one_in_its_place_has_not(
    ledger: S3Ledger, three: None, objects: Objects
) -> None:
    reader = S3Ledger(objects)
    assert reader.mark() == ""
    assert len(list(reader.read())) == 3
    mark = reader.mark()
    ledger.commit(chunk(3))
    assert reader.mark() == mark
    objects.delete([chunk_key(n) for n in range(4)])
    assert reader.mark() != mark
    for n in range(4):
        S3Ledger(objects).commit(chunk(n, writer="another"))
    assert reader.mark() != mark
