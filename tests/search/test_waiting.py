"""The session while there is nothing to do: what it waits for, and what it tells."""

from collections.abc import Iterator
from pathlib import Path
from time import sleep

import pytest

from metta.sweep.contracts.attempts import Attempt
from metta.sweep.contracts.budgets import Budget, Control
from metta.sweep.contracts.chunks import Chunk
from metta.sweep.contracts.decisions import Start
from metta.sweep.contracts.errors import StoreAway
from metta.sweep.contracts.events import TrialEvent
from metta.sweep.contracts.failures import FREE_SOME
from metta.sweep.contracts.sweeps import Counts, Progress
from metta.sweep.search import session as module
from metta.sweep.search.search import Search
from metta.sweep.stores.ledgers import FileLedger
from tests.search.played import PATIENCE_S, Plays
from tests.search.scripted import complete, hangs, report, succeeds
from tests.stores.disks import run_on_disk
from tests.stores.stories import spec


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FULL_WAIT_S", 0.02)


@pytest.mark.usefixtures("impatient")
def test_while_the_disk_is_full_everything_waits_and_then_it_goes_on(plays: Plays) -> None:
    def reports(attempt: Attempt) -> Iterator[TrialEvent]:
        yield report(attempt, 1)
        yield complete(attempt)

    played = plays(reports)
    played.ledger.full = True
    running = played.begin(trials=3)
    played.wait_for(lambda: played.session.progress.note == "no room is left")
    assert played.pool.started == []
    played.ledger.full = False
    played.wait_for(lambda: played.table.counts.completed)
    result = running.result(PATIENCE_S)
    assert result
    assert result.progress.counts == Counts(started=3, completed=3)
    assert played.session.progress.note == ""


@pytest.mark.usefixtures("impatient")
def test_a_session_can_be_closed_while_the_disk_is_full(plays: Plays) -> None:
    played = plays(succeeds)
    played.ledger.full = True
    running = played.begin()
    played.wait_for(lambda: played.session.progress.note)
    played.session.close()
    assert running.result(PATIENCE_S) is None


def test_a_disk_that_fills_up_and_is_cleared_costs_nothing(tmp_path: Path) -> None:
    told = run_on_disk(
        tmp_path / "disk",
        "size=96k",
        """
        import sys
        from pathlib import Path
        from metta.sweep.search import session
        from tests.search.scripted import complete, report
        from tests.search.played import Played

        def reports(attempt):
            yield report(attempt, 1, acc=attempt.params["x"])
            yield complete(attempt, acc=attempt.params["x"])

        disk = Path(sys.argv[1])
        ballast = disk / "ballast"
        ballast.write_bytes(b"x" * 60_000)
        session.FULL_WAIT_S = 0.05
        played = Played(disk, reports)
        running = played.begin(trials=60)
        played.wait_for(lambda: played.session.progress.note)
        print(played.session.progress.note.replace(str(disk), "disk"))
        before = played.path.read_bytes()
        ballast.unlink()
        result = running.result(20)
        assert played.path.read_bytes().startswith(before)
        print(result.reason, result.progress.counts.completed, len(played.pool.started))
        played.close()
        """,
    ).splitlines()
    assert told == [
        f"no room is left for disk/ledger.jsonl; {FREE_SOME}",
        "budget 60 60",
    ]


def test_what_the_pool_waits_for_is_told(plays: Plays) -> None:
    played = plays(hangs)
    running = played.begin()
    played.wait_for(lambda: played.pool.started)
    played.pool.waiting_for = "a free slot"
    played.pool.wake()
    played.wait_for(lambda: played.session.progress.note == "a free slot")
    assert played.session.progress.counts.running == 1
    played.pool.waiting_for = ""
    played.pool.wake()
    played.wait_for(lambda: played.session.progress.note == "")
    played.session.close()
    running.result(PATIENCE_S)


def test_progress_is_told_at_first_and_then_seldom(plays: Plays) -> None:
    told: list[Progress] = []

    def looks(attempt: Attempt) -> Iterator[TrialEvent]:
        if played.session.progress not in told:
            told.append(played.session.progress)
        yield complete(attempt)

    played = plays(looks)
    played.run(trials=100)
    assert len(told) == 1


def test_a_session_in_which_nothing_happens_does_not_spin(plays: Plays) -> None:
    played = plays(hangs, slots=2, scheduler={"type": "batch", "batch_size": 1})
    running = played.begin()
    played.wait_for(lambda: played.pool.started)
    sleep(0.3)  # one slot is free all the time
    played.session.close()
    running.result(PATIENCE_S)
    assert played.pool.waits <= 4


class Away(FileLedger):
    """A ledger whose answers are lost, and which then cannot be read for a while."""

    silent = 0

    def commit(self, chunk: Chunk) -> None:
        super().commit(chunk)
        if self.silent:
            raise StoreAway("the answer is lost")

    def read(self, after: int = -1) -> Iterator[Chunk]:
        if self.silent:
            self.silent -= 1
            raise StoreAway("nobody answers")
        yield from super().read(after)


def test_what_was_committed_before_the_answer_was_lost_is_not_decided_again(tmp_path: Path) -> None:
    ledger = Away(tmp_path / "ledger.jsonl")
    search = Search(ledger, spec(metric="acc"), "sweep", "writer")
    opened = search.open(Control(run="run", budget=Budget(trials=3)))
    ledger.silent = 2
    for _ in range(2):
        before = search.table.progress()
        with pytest.raises(StoreAway):
            search.advance(opened.cursor, [], 1)
        assert search.table.progress().counts.started >= before.counts.started  # people may look meanwhile
    answer = search.advance(opened.cursor, [], 1)
    assert [d.trial for d in answer.decisions if isinstance(d, Start)] == [0]
    assert [chunk.n for chunk in ledger.read()] == [0, 1]
