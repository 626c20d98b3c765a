"""Several writers of one ledger, and readers beside them; some of them die."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random
from textwrap import dedent
from time import sleep

import pytest

from metta.sweep.contracts.errors import ChunkTaken, StoreError
from metta.sweep.stores.ledgers import FileLedger, line_of
from tests.stores.chunks import chunk, numbers
from tests.stores.disks import ROOT

WINS_EACH = 25


def child(script: str, *arguments: object, stdin: int | None = None) -> "subprocess.Popen[str]":
    """A process that works on ``ledger``, at the path that is its first argument."""
    head = """
import sys
from pathlib import Path
from metta.sweep.contracts.errors import *
from metta.sweep.stores.ledgers import FileLedger
from tests.stores.chunks import chunk
ledger = FileLedger(Path(sys.argv[1]))
"""
    return subprocess.Popen(
        [sys.executable, "-c", head + dedent(script), *map(str, arguments)],
        stdin=stdin,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_the_same_chunk_again_is_a_lost_reply_and_a_success(path: Path, three: list[bytes]) -> None:
    before = path.read_bytes()
    for n in (0, 2, 1):
        FileLedger(path).commit(chunk(n))
    assert path.read_bytes() == before


def test_a_number_that_is_taken_is_refused(path: Path, three: list[bytes]) -> None:
    before = path.read_bytes()
    ledger = FileLedger(path)
    for n in (0, 2):
        with pytest.raises(ChunkTaken, match=f"chunk {n} of .* was written by somebody else"):
            ledger.commit(chunk(n, "late"))
    assert path.read_bytes() == before
    ledger.commit(chunk(3, "late"))
    assert numbers(path) == [0, 1, 2, 3]


def test_a_number_that_does_not_follow_is_refused(path: Path, three: list[bytes]) -> None:
    with pytest.raises(StoreError, match="has 3 chunks; number 5 does not follow"):
        FileLedger(path).commit(chunk(5))
    assert numbers(path) == [0, 1, 2]


def test_of_eight_processes_that_race_each_number_is_won_by_one(path: Path) -> None:
    script = """
        me, wins, n = sys.argv[2], int(sys.argv[3]), 0
        print("ready", flush=True)
        sys.stdin.read()
        while wins:
            try:
                ledger.commit(chunk(n, me, size=n * 100 % 10_000))
            except ChunkTaken:
                pass
            else:
                wins -= 1
                print(n)
            n += 1
    """
    stdin, gate = os.pipe()
    names = [f"racer {k}" for k in range(8)]
    racers = [child(script, path, name, WINS_EACH, stdin=stdin) for name in names]
    os.close(stdin)
    for racer in racers:
        assert racer.stdout
        assert racer.stdout.readline() == "ready\n"
    os.close(gate)  # the end of their input lets all of them go at once
    won = {
        name: [int(n) for n in racer.communicate()[0].split()]
        for name, racer in zip(names, racers, strict=True)
    }
    writers = [found.writer for found in FileLedger(path).read()]
    assert len(writers) == len(names) * WINS_EACH
    assert {name: [n for n, writer in enumerate(writers) if writer == name] for name in names} == won


def test_a_reader_beside_a_writer_sees_each_chunk_once_and_whole(path: Path) -> None:
    writer = child(
        """
        for n in range(300):
            ledger.commit(chunk(n, size=n * n % 70_000))
        """,
        path,
    )
    ledger, last = FileLedger(path), -1
    while last < 299:
        alive = writer.poll() is None
        for found in ledger.read(last):
            assert found == chunk(last + 1, size=(last + 1) ** 2 % 70_000)
            last += 1
        assert alive or last == 299
    assert writer.communicate()[0] == ""


def test_a_reader_is_not_misled_by_a_torn_line_that_is_overwritten_while_it_reads(
    path: Path, three: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    torn = line_of(chunk(3, "dead", size=100))[:60]
    with path.open("ab") as file:
        file.write(torn)
    pread, overwritten = os.pread, list[bytes]()

    def overwrite_afterwards(file: int, size: int, offset: int) -> bytes:
        block = pread(file, size, offset)
        if block.endswith(torn) and not overwritten:
            overwritten.append(block)
            FileLedger(path).commit(chunk(3))
        return block

    monkeypatch.setattr(os, "pread", overwrite_afterwards)  # the moment between two reads is short
    assert [*FileLedger(path).read()][:3] == [chunk(n) for n in range(3)]
    assert overwritten
    assert numbers(path) == [0, 1, 2, 3]


def test_killed_writers_leave_a_sound_ledger_with_all_that_was_acknowledged(path: Path) -> None:
    script = """
        n = int(sys.argv[2])
        while True:
            ledger.commit(chunk(n, f"writer {sys.argv[2]}", size=n * 7919 % 200_000))
            print(n, flush=True)
            n += 1
    """
    random, found = Random(7), 0
    for _ in range(8):
        writer = child(script, path, found)
        assert writer.stdout
        first = writer.stdout.readline()
        sleep(random.uniform(0, 0.05))
        writer.send_signal(signal.SIGKILL)
        acknowledged = int((first + writer.communicate()[0]).split()[-1])
        found = len(numbers(path))
        assert numbers(path) == list(range(found))
        assert found in (acknowledged + 1, acknowledged + 2)  # the one under way may be whole, too
    FileLedger(path).commit(chunk(found))
    assert len(numbers(path)) == found + 1
