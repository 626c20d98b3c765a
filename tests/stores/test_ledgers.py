"""The ledger on files: what is committed is read, and damage is never written over."""

import json
import os
import subprocess
from pathlib import Path
from zlib import crc32

import pytest

from metta.sweep.contracts.budgets import Budget, Control
from metta.sweep.contracts.chunks import Chunk
from metta.sweep.contracts.decisions import Finish, Start
from metta.sweep.contracts.errors import LedgerCorrupt, StoreError
from metta.sweep.contracts.events import Failed, Opened
from metta.sweep.contracts.failures import Failure
from metta.sweep.stores.ledgers import READ_BYTES, FileLedger, line_of
from tests.stores.chunks import chunk, numbers


def with_checksum(body: bytes) -> bytes:
    return body[:-1] + b',"crc":"%08x"}\n' % crc32(body[:-1])


# --- what is written is read ---


def test_what_is_committed_is_read_in_another_object(path: Path) -> None:
    chunks = [
        Chunk(
            n=0,
            writer="a",
            epoch=1,
            events=(Opened(at=1.25, epoch=1, control=Control(run="r", budget=Budget(target=1e-300))),),
            asks=(1, 2),
            decisions=(
                Start(trial=0, params={"x": 0.1 + 0.2, "y": [1, None, "ü\n\u2028"], "z": 10**20}, seed=3),
            ),
        ),
        Chunk(
            n=1,
            writer="b",
            epoch=2,
            events=(Failed(at=1e9 + 1 / 3, trial=0, failure=Failure(kind="user", message='"\r\n"')),),
            decisions=(Finish(reason="failed", message="\0"),),
        ),
    ]
    ledger = FileLedger(path)
    for made in chunks:
        ledger.commit(made)
    assert list(FileLedger(path).read()) == chunks


def test_it_tells_whether_others_have_written(path: Path) -> None:
    mine, other = FileLedger(path), FileLedger(path)
    assert not mine.has_more()
    mine.commit(chunk(0))
    assert not mine.has_more()
    assert other.has_more()
    other.commit(chunk(1))
    assert mine.has_more()
    assert [c.n for c in mine.read()] == [0, 1]
    assert not mine.has_more()
    assert list(mine.read(1)) == []
    mine.commit(chunk(2))
    assert not mine.has_more()
    assert [c.n for c in mine.read(1)] == [2]


def test_it_has_a_mark_that_another_one_in_its_place_has_not(path: Path) -> None:
    mine, other = FileLedger(path), FileLedger(path)
    assert mine.mark() == ""
    mine.commit(chunk(0))
    mark = mine.mark()
    other.commit(chunk(1))
    assert mine.mark() == mark
    path.unlink()
    assert mine.mark() != mark
    FileLedger(path).commit(chunk(0).model_copy(update={"writer": "another"}))
    assert mine.mark() != mark


def test_lines_are_json_that_others_can_read(path: Path) -> None:
    FileLedger(path).commit(chunk(0))
    [line] = path.read_text("utf-8").splitlines()
    data = json.loads(line)
    assert (data["n"], data["schema"], data["writer"], data["events"][0]["type"]) == (0, 1, "me", "reported")
    assert list(data)[-1] == "crc"


def test_an_empty_ledger_has_no_chunks_and_makes_no_files(path: Path) -> None:
    ledger = FileLedger(path)
    assert not ledger.exists()
    assert list(ledger.read()) == []
    assert not path.parent.exists()


def test_it_exists_from_the_first_chunk_on(path: Path, three: list[bytes]) -> None:
    assert FileLedger(path).exists()
    path.write_bytes(three[0][:-1])  # its writer died in the middle of the first line
    assert not FileLedger(path).exists()


def test_it_names_where_it_lies(path: Path) -> None:
    assert FileLedger(path).uri == f"file://{path}"


@pytest.mark.parametrize("after", range(-1, 4))
def test_reading_goes_on_after_any_chunk(path: Path, three: list[bytes], after: int) -> None:
    assert numbers(path, after) == list(range(after + 1, 3))


def test_one_reader_reads_on_and_back(path: Path, three: list[bytes]) -> None:
    ledger = FileLedger(path)
    for after in (1, 0, 2, -1, 1):
        assert [found.n for found in ledger.read(after)] == list(range(after + 1, 3))
    assert next(ledger.read()).n == 0  # one that is not read to its end
    assert [found.n for found in ledger.read(0)] == [1, 2]


def test_lines_longer_than_what_is_read_at_once(path: Path) -> None:
    sizes = [1, READ_BYTES // 2, READ_BYTES, 3 * READ_BYTES, 1]
    ledger = FileLedger(path)
    for n, size in enumerate(sizes):
        ledger.commit(chunk(n, size=size))
    assert list(FileLedger(path).read()) == [chunk(n, size=size) for n, size in enumerate(sizes)]
    FileLedger(path).commit(chunk(len(sizes)))


# --- durability ---


def test_a_chunk_is_synced_before_commit_returns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[str, bytes]] = []
    fsync = os.fsync

    def spy(file: int) -> None:
        fsync(file)
        name = os.readlink(f"/proc/self/fd/{file}")
        synced.append((name, path.read_bytes() if name == str(path) else b""))

    monkeypatch.setattr(os, "fsync", spy)
    ledger = FileLedger(path)
    ledger.commit(chunk(0))
    assert {str(path.parent), str(path.parent.parent)} <= {name for name, _ in synced}
    assert synced[-1] == (str(path), line_of(chunk(0)))
    ledger.commit(chunk(1))
    assert synced[-1] == (str(path), line_of(chunk(0)) + line_of(chunk(1)))


# --- torn tails and damage ---


def test_a_torn_tail_is_passed_over_by_readers_and_cut_off_by_the_next_writer(
    path: Path, three: list[bytes]
) -> None:
    first, second, last = three
    mine = chunk(2, "another")
    for length in range(len(last)):
        path.write_bytes(first + second + last[:length])
        assert numbers(path) == [0, 1]
        assert path.stat().st_size == len(first + second) + length  # a reader changes nothing
        ledger = FileLedger(path)
        ledger.commit(mine)
        ledger.close()
        assert path.read_bytes() == first + second + line_of(mine)


def test_a_writer_cuts_off_what_another_one_left_behind_meanwhile(path: Path, three: list[bytes]) -> None:
    ledger = FileLedger(path)
    ledger.commit(chunk(3))
    with path.open("ab") as file:
        file.write(line_of(chunk(4, "dying"))[:-1])
    ledger.commit(chunk(4))
    assert list(FileLedger(path).read())[4:] == [chunk(4)]


def test_any_changed_byte_is_found_and_nobody_writes_behind_it(path: Path, three: list[bytes]) -> None:
    first, second, last = three
    for position in range(len(second) - 1):
        damaged = bytearray(second)
        damaged[position] ^= 1
        content = first + bytes(damaged) + last
        path.write_bytes(content)
        read = FileLedger(path).read()
        assert next(read) == chunk(0)
        with pytest.raises(LedgerCorrupt) as error:
            next(read)
        assert (error.value.line, error.value.offset) == (2, len(first))
        ledger = FileLedger(path)
        with pytest.raises(LedgerCorrupt):
            ledger.commit(chunk(3))
        ledger.close()
        assert path.read_bytes() == content


def test_the_error_says_how_to_keep_what_stands_before_the_damage(path: Path, three: list[bytes]) -> None:
    path.write_bytes(three[0] + b"{}\n" + three[2])
    with pytest.raises(LedgerCorrupt) as error:
        numbers(path)
    message = str(error.value)
    assert f"{path}, line 2 (byte {len(three[0])}) is damaged: its checksum does not match" in message
    command = message.split("`")[1]
    subprocess.run(command, shell=True, cwd=path.parent, check=True)
    assert numbers(path.with_name("repaired.jsonl")) == [0]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (line_of(chunk(7)), "it says that it is chunk 7"),
        (with_checksum(b'{"n":1,"writer":3,"epoch":1}'), "it is no chunk: Input should be a valid string"),
        (with_checksum(b"[}"), "it is no chunk: Invalid JSON"),
    ],
)
def test_a_sound_line_that_is_no_chunk_or_not_this_one(
    path: Path, three: list[bytes], line: bytes, why: str
) -> None:
    path.write_bytes(three[0] + line)
    with pytest.raises(LedgerCorrupt, match=why):
        numbers(path)


def test_a_newer_format_is_no_damage(path: Path, three: list[bytes]) -> None:
    path.write_bytes(three[0] + with_checksum(b'{"n":1,"writer":"me","epoch":1,"schema":2}'))
    with pytest.raises(StoreError, match="is written in format 2, which this version does not know") as error:
        numbers(path)
    assert not isinstance(error.value, LedgerCorrupt)
