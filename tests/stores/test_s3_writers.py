"""Several writers of one ledger in a bucket; some of them die, and so does the server."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random
from textwrap import dedent
from threading import Thread
from time import monotonic, sleep

import pytest

from metta.sweep.contracts.chunks import Chunk
from metta.sweep.contracts.errors import StoreError
from metta.sweep.stores.object_logs import S3Ledger
from metta.sweep.stores.objects import Objects
from metta.sweep.stores.segments import Segments
from tests.stores.chunks import chunk
from tests.stores.disks import ROOT
from tests.stores.weed import BUCKET, Weed

PROCESSES, THREADS, WINS_EACH = 4, 4, 6


def child(script: str, *arguments: object, stdin: int | None = None) -> "subprocess.Popen[str]":
    """A process with a function ``ledger()`` for those at the prefix that is its first argument."""
    head = f"""
import sys
from metta.sweep.contracts.errors import *
from metta.sweep.stores.object_logs import S3Ledger
from metta.sweep.stores.objects import Objects
from tests.stores.chunks import chunk

def ledger():
    return S3Ledger(Objects("{BUCKET}", sys.argv[1]))
"""
    return subprocess.Popen(
        [sys.executable, "-c", head + dedent(script), *map(str, arguments)],
        stdin=stdin,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_of_sixteen_writers_that_race_each_number_is_won_by_one(objects: Objects) -> None:
    script = f"""
        from threading import Barrier, Thread

        def race(me):
            mine, wins, n = ledger(), {WINS_EACH}, 0
            ready.wait()
            started.wait()
            while wins:
                try:
                    mine.commit(chunk(n, me, size=n * 100 % 10_000))
                except ChunkTaken:
                    pass
                else:
                    wins -= 1
                    print(f"{{me}} {{n}}\\n", end="", flush=True)
                n += 1
            mine.close()

        ready, started = Barrier({THREADS} + 1), Barrier({THREADS} + 1)
        racers = [Thread(target=race, args=(f"{{sys.argv[2]}}/{{k}}",)) for k in range({THREADS})]
        for racer in racers:
            racer.start()
        ready.wait()
        print("ready", flush=True)
        sys.stdin.read()
        started.wait()
        for racer in racers:
            racer.join()
    """
    stdin, gate = os.pipe()
    processes = [child(script, objects.prefix, k, stdin=stdin) for k in range(PROCESSES)]
    os.close(stdin)
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    os.close(gate)  # the end of their input lets all of them go at once
    won: list[tuple[int, str]] = []
    for process in processes:
        told = process.communicate()[0].split()
        assert process.returncode == 0
        won += zip(map(int, told[1::2]), told[0::2], strict=True)
    count = PROCESSES * THREADS * WINS_EACH
    found = list(S3Ledger(objects).read())
    assert [(each.n, each.writer) for each in found] == sorted(won)
    assert [each.n for each in found] == [*range(count)]
    Segments(objects).merge(count)
    assert len(objects.listed("segments/")) == count // 16
    assert list(S3Ledger(objects).read()) == found


def test_killed_writers_leave_a_sound_ledger_with_all_that_was_acknowledged(objects: Objects) -> None:
    script = """
        n, mine = int(sys.argv[2]), ledger()
        while True:
            mine.commit(chunk(n, f"writer {sys.argv[2]}", size=n * 7919 % 200_000))
            print(n, flush=True)
            n += 1
    """
    random, found = Random(7), 0
    for _ in range(5):
        writer = child(script, objects.prefix, found)
        assert writer.stdout
        first = writer.stdout.readline()
        sleep(random.uniform(0, 0.2))
        writer.send_signal(signal.SIGKILL)
        acknowledged = int((first + writer.communicate()[0]).split()[-1])
        numbers = [each.n for each in S3Ledger(objects).read()]
        found = len(numbers)
        assert numbers == [*range(found)]
        assert found in (acknowledged + 1, acknowledged + 2)  # the one under way may be whole, too
    S3Ledger(objects).commit(chunk(found))
    assert len([*S3Ledger(objects).read()]) == found + 1


class Writer(Thread):
    """Commits one chunk after the other, each until it is taken.

    Attributes:
        count: So many chunks were acknowledged.
        refusals: Why commits failed, one after the other.
    """

    def __init__(self, objects: Objects) -> None:
        super().__init__(daemon=True)
        self._objects = objects
        self._over = False
        self.count = 0
        self.refusals: list[str] = []

    def run(self) -> None:
        ledger = S3Ledger(self._objects)
        while not self._over:
            try:
                ledger.commit(sized(self.count))
            except StoreError as error:
                self.refusals.append(str(error))
            else:
                self.count += 1
        ledger.close()

    def end(self) -> None:
        self._over = True
        self.join()

    def wait(self, count: int, refusals: int = 0) -> None:
        """Wait until there are so many more of either."""
        count, refusals = self.count + count, len(self.refusals) + refusals
        deadline = monotonic() + 40
        while self.count < count or len(self.refusals) < refusals:
            assert monotonic() < deadline, (self.count, self.refusals)
            sleep(0.02)


def sized(n: int) -> Chunk:
    return chunk(n, size=n * 7919 % 50_000)


@pytest.mark.timeout(150)
def test_a_server_that_is_killed_loses_nothing_and_writing_goes_on(tmp_path: Path) -> None:
    weed = Weed(tmp_path)
    weed.start()
    objects = weed.objects("store", tries=2)
    writer = Writer(objects)
    writer.start()
    try:
        for _ in range(2):
            writer.wait(count=40)
            weed.kill()
            before = writer.count
            writer.wait(count=0, refusals=1)
            weed.start()
            assert [each.n for each in S3Ledger(objects).read()][:before] == [*range(before)]
        writer.wait(count=40)
        writer.end()
        assert list(S3Ledger(objects).read()) == [sized(n) for n in range(writer.count)]
    finally:
        weed.kill()
        writer.end()
    assert any(f"{weed.url} cannot be reached for s3://{BUCKET}" in text for text in writer.refusals)
