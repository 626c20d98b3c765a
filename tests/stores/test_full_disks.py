"""Ledgers whose file goes away, or whose disk is full, read-only or broken."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from metta.sweep.contracts.errors import ChunkTaken, StoreError
from metta.sweep.contracts.failures import FREE_SOME
from metta.sweep.stores.ledgers import FileLedger, line_of
from tests.stores.chunks import chunk, numbers
from tests.stores.disks import run_on_disk


def fail_with(number: int) -> Callable[[int], None]:
    def fails(file: int) -> None:
        if os.readlink(f"/proc/self/fd/{file}").endswith("jsonl"):
            raise OSError(number, os.strerror(number))

    return fails


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_file_that_is_deleted_while_in_use_is_not_written_on(path: Path) -> None:
    ledger = FileLedger(path)
    ledger.commit(chunk(0))
    path.unlink()
    for _ in range(2):
        with pytest.raises(StoreError, match="was deleted while it was in use; nothing more is written"):
            ledger.commit(chunk(1))
    assert not path.exists()


def test_a_file_that_has_lost_its_end_while_in_use_is_not_written_on(path: Path) -> None:
    ledger = FileLedger(path)
    for n in range(3):
        ledger.commit(chunk(n))
    os.truncate(path, len(line_of(chunk(0))))
    for _ in range(2):
        with pytest.raises(StoreError, match="has lost its end while it was in use"):
            ledger.commit(chunk(3))
    assert numbers(path) == [0]


@pytest.mark.parametrize("act", [lambda ledger: ledger.commit(chunk(0)), lambda ledger: ledger.exists()])
def test_a_folder_that_cannot_be(tmp_path: Path, act: Callable[[FileLedger], object]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file/ledger\.jsonl cannot be (read|written): "):
        act(FileLedger(tmp_path / "file" / "ledger.jsonl"))


def test_a_full_disk_loses_nothing_and_it_goes_on_when_there_is_room(tmp_path: Path) -> None:
    told = run_on_disk(
        tmp_path / "disk",
        "size=64k",
        """
        import sys
        from pathlib import Path
        from metta.sweep.contracts.errors import StoreFull
        from metta.sweep.stores.ledgers import FileLedger
        from tests.stores.chunks import chunk

        disk = Path(sys.argv[1])
        ballast = disk / "ballast"
        ballast.write_bytes(b"x" * 40_000)
        ledger, n = FileLedger(disk / "ledger.jsonl"), 0
        try:
            while True:
                ledger.commit(chunk(n, size=1000))
                n += 1
        except StoreFull as error:
            print(error)
        before = (disk / "ledger.jsonl").read_bytes()
        assert before.count(b"\\n") == n > 5, n
        assert before.endswith(b"\\n")  # what fitted of the last line is gone again
        for _ in range(3):
            try:
                ledger.commit(chunk(n, size=1000))
            except StoreFull:
                continue
            raise AssertionError("there is no room")
        assert (disk / "ledger.jsonl").read_bytes() == before
        ballast.unlink()
        for more in range(n, n + 3):
            ledger.commit(chunk(more, size=1000))
        assert [*FileLedger(disk / "ledger.jsonl").read()] == [chunk(k, size=1000) for k in range(n + 3)]
        """,
    )
    assert told == f"no room is left for {tmp_path}/disk/ledger.jsonl; {FREE_SOME}\n"


def test_a_read_only_disk_is_told_plainly(tmp_path: Path) -> None:
    told = run_on_disk(
        tmp_path / "disk",
        "ro",
        """
        import sys
        from pathlib import Path
        from metta.sweep.contracts.errors import StoreError
        from metta.sweep.stores.ledgers import FileLedger
        from tests.stores.chunks import chunk

        try:
            FileLedger(Path(sys.argv[1]) / "store" / "ledger.jsonl").commit(chunk(0))
        except StoreError as error:
            print(type(error).__name__, error)
        """,
    )
    assert told == (
        f"StoreError {tmp_path}/disk/store/ledger.jsonl cannot be written: Read-only file system;"
        " allow it, or put the store elsewhere\n"
    )


def test_a_line_that_cannot_be_synced_is_taken_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FileLedger(path).commit(chunk(0))
    ledger = FileLedger(path)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail_with(5))  # no disk fails on demand
        with pytest.raises(StoreError, match=r"ledger\.jsonl cannot be written: Input/output error"):
            ledger.commit(chunk(1))
    assert numbers(path) == [0]
    ledger.commit(chunk(1, "somebody else"))
    assert list(FileLedger(path).read()) == [chunk(0), chunk(1, "somebody else")]


def test_no_descriptor_is_left_behind(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = descriptors()
    ledger, other = FileLedger(path), FileLedger(path)
    ledger.commit(chunk(0))
    with pytest.raises(ChunkTaken):
        other.commit(chunk(0, "other"))
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail_with(5))
        with pytest.raises(StoreError):
            ledger.commit(chunk(1))
    assert next(ledger.read()).n == 0
    assert ledger.exists()
    ledger.commit(chunk(1))
    assert descriptors() == before + 2
    ledger.close()
    other.close()
    other.close()
    assert descriptors() == before
    ledger.commit(chunk(2))  # it can be used again
    ledger.close()
    assert (descriptors(), numbers(path)) == (before, [0, 1, 2])
