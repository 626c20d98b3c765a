"""Snapshots: they tell what the whole ledger tells, or that they cannot."""

import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from metta.sweep.contracts.chunks import Chunk
from metta.sweep.contracts.decisions import Resume
from metta.sweep.contracts.errors import LedgerCorrupt, StoreAway, StoreError
from metta.sweep.contracts.events import Event
from metta.sweep.contracts.records import TrialRecord
from metta.sweep.stores import snapshots
from metta.sweep.stores.ledgers import SNAPSHOT, FileLedger
from metta.sweep.stores.rankings import LeftOut
from metta.sweep.stores.snapshots import Brief, Briefing, Snapshots, brief_of, overview_of, taken
from metta.sweep.stores.trials import TrialTable
from tests.search.by_hand import ByHand


@pytest.fixture(autouse=True)
def _unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """No machine crashes here, and thousands of chunks are written."""
    monkeypatch.setattr(os, "fsync", lambda file: None)


ASHA = {"type": "asha", "options": {"max_epochs": 9}}


class Reading(FileLedger):
    """A ledger that knows from where on it was read."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.begins: list[int] = []

    def read(self, after: int = -1) -> Iterator[Chunk]:
        self.begins.append(after)
        return super().read(after)


class Leaving(FileLedger):
    """A ledger whose store goes away once, when a chunk of it has been read."""

    leaves_at = -1

    def read(self, after: int = -1) -> Iterator[Chunk]:
        for chunk in super().read(after):
            yield chunk
            if chunk.n == self.leaves_at:
                self.leaves_at = -1
                raise StoreAway("it is away")


def played(path: Path, seed: int, trials: int = 80) -> list[Chunk]:
    """The ledger of a search in which everything happens that may happen to trials."""
    rng = Random(seed)
    hand = ByHand(path, slots=4, scheduler=ASHA, retry={"max_attempts": 2}, max_failures=1000)
    hand.open(trials=trials)
    hand.tell()
    while hand.active:
        hand.tell(happened(hand, rng.choice(list(hand.active)), rng))
    return hand.chunks


def happened(hand: ByHand, trial: int, rng: Random) -> Event:
    record = hand.search.table.records[trial]
    until = record.until_step or 9
    if rng.random() < 0.1:
        return hand.fail(trial, message=rng.choice(["boom", "bang", "crack"]))
    if record.step is None or record.step < until:
        return hand.report(trial, until, rng.choice([0.1, 0.5, rng.random()]), checkpoint=f"c{trial}-{until}")
    return hand.complete(trial, record.metrics["acc"]) if record.last else hand.pause(trial, until)


def is_paused(record: TrialRecord) -> bool:
    return record.status == "paused"


def written(path: Path, chunks: list[Chunk], cut: int) -> Reading:
    """A ledger of these chunks with a snapshot of those up to the cut."""
    ledger = FileLedger(path)
    for chunk in chunks[: cut + 1]:
        ledger.commit(chunk)
    ledger.keep_snapshot(cut, taken(TrialTable(chunks[: cut + 1]), cut))
    for chunk in chunks[cut + 1 :]:
        ledger.commit(chunk)
    return Reading(path)


def told(table: TrialTable) -> dict[str, object]:
    """All that a table tells, but for its records."""
    by_themselves = {"records", "ranking", "failures"}
    state = {name: value for name, value in vars(table).items() if name not in by_themselves}
    running = {number: replace(record, history=[]) for number, record in table.running.items()}
    return {**state, "running": running, "brief": Brief.of(table), "failure": table.commonest_failure()}


def test_wherever_it_was_made_it_tells_what_the_ledger_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "RANKS", 20)  # so few that what is needed is left out at times
    begins = set[tuple[int, ...]]()
    for seed in range(2):
        chunks = played(tmp_path / f"{seed}.jsonl", seed, trials=120)
        expected = told(TrialTable(chunks))
        for cut in range(0, len(chunks), 12):
            path = tmp_path / f"{seed}-{cut}" / "ledger.jsonl"
            ledger = written(path, chunks, cut)
            table, n = overview_of(ledger)
            assert (told(table), n) == (expected, chunks[-1].n)
            assert brief_of(FileLedger(path)) == expected["brief"]
            begins.add(tuple(min(begin, 0) for begin in ledger.begins))
    assert begins == {(0,), (0, 0, -1)}  # from the snapshot alone, and from the beginning


def test_a_trial_that_paused_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "RANKS", 20)
    chunks = played(tmp_path / "played.jsonl", 5)
    end = chunks[-1].n
    worst = max(filter(is_paused, (table := TrialTable(chunks)).records), key=lambda r: table.loss(r) or 0.0)
    resume = Resume(trial=worst.number, segment=worst.segment + 1, until_step=9)
    chunks.append(chunks[-1].model_copy(update={"n": end + 1, "events": (), "decisions": (resume,)}))
    ledger = written(tmp_path / "ledger.jsonl", chunks, end)
    table, _ = overview_of(ledger)
    assert told(table) == told(TrialTable(chunks))
    assert table.records[worst.number].params == worst.params
    assert ledger.begins == [end, end]  # the second time with the trials that paused


def test_what_is_left_out_is_no_trial_like_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "RANKS", 22)
    chunks = played(tmp_path / "played.jsonl", 7)
    table, _ = overview_of(written(tmp_path / "ledger.jsonl", chunks, len(chunks) - 1))
    assert len(table.records) == 80
    with pytest.raises(LeftOut):
        _ = [record.status for record in table.records]
    with pytest.raises(LeftOut):
        table.leaderboard(None)


def test_a_snapshot_that_is_damaged_or_of_another_ledger_or_format_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    chunks = played(tmp_path / "played.jsonl", 1)
    expected = told(TrialTable(chunks))
    file = path.with_name(SNAPSHOT)

    def is_passed_over() -> bool:
        ledger = Reading(path)
        table, _ = overview_of(ledger)
        assert told(table) == expected
        assert brief_of(FileLedger(path)) == expected["brief"]
        return ledger.begins == [-1]

    written(path, chunks, len(chunks) - 1)
    assert not is_passed_over()
    sound = file.read_bytes()
    for damaged in (b"", sound[:100], sound[:-5], sound[:200] + b"x" + sound[201:], b"\xff\n" + sound):
        file.write_bytes(damaged)
        assert is_passed_over()
    ledger = FileLedger(path)
    ledger.commit(chunks[-1])
    data = taken(TrialTable(chunks), chunks[-1].n).replace(b'"format":1', b'"format":2')
    ledger.keep_snapshot(chunks[-1].n, data)
    assert is_passed_over()
    ledger.keep_snapshot(chunks[-1].n, b'{"format":2}')
    assert is_passed_over()
    file.unlink()
    file.mkdir()  # or something else that cannot be read
    assert is_passed_over()
    file.rmdir()
    file.write_bytes(sound)
    path.unlink()
    written(path.with_name("other.jsonl"), played(tmp_path / "others.jsonl", 2), 0)
    file.write_bytes(sound)  # and now a ledger of that name begins anew
    chunks = played(path, 3)
    expected = told(TrialTable(chunks))
    file.write_bytes(sound)
    assert is_passed_over()


def test_who_asks_again_and_again_reads_what_came_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "RANKS", 20)
    chunks = played(tmp_path / "played.jsonl", 5)
    path = tmp_path / "ledger.jsonl"
    writer, early, late, whole = FileLedger(path), Reading(path), Reading(path), TrialTable()
    first, second = Briefing(early), Briefing(late)
    for chunk in chunks:
        writer.commit(chunk)
        whole.apply_chunk(chunk)
        if chunk.n % 3 == 0:
            assert first.brief() == first.brief() == Brief.of(whole)
        if chunk.n == 40:
            writer.keep_snapshot(40, taken(whole, 40))
        if chunk.n >= 40 and chunk.n % 5 == 0:
            assert second.brief() == Brief.of(whole)
    assert early.begins == [-1, *range(0, len(chunks) - 3, 3)]
    # the snapshot is all that is read, until trials go on that it does not hold
    assert late.begins[0] == 40
    assert late.begins.count(-1) <= 1
    assert late.begins[-1] > 40


def test_who_could_not_read_all_counts_nothing_twice(tmp_path: Path) -> None:
    chunks = played(tmp_path / "played.jsonl", 1)
    path = tmp_path / "ledger.jsonl"
    writer, ledger = FileLedger(path), Leaving(path)
    briefing = Briefing(ledger)
    for chunk in chunks:
        writer.commit(chunk)
        if chunk.n % 20 == 10:
            briefing.brief()
            ledger.leaves_at = chunk.n + 5
        if chunk.n == ledger.leaves_at:
            with pytest.raises(StoreAway):
                briefing.brief()
            assert briefing.brief() == Brief.of(TrialTable(chunks[: chunk.n + 1]))


def test_of_a_ledger_that_takes_the_place_of_another_one_all_is_read(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    written(path, played(tmp_path / "first.jsonl", 1, trials=40), 0)
    briefing = Briefing(FileLedger(path))
    for seed, trials in ((2, 60), (3, 20)):  # longer, and shorter
        briefing.brief()
        path.unlink()
        chunks = played(tmp_path / f"{seed}.jsonl", seed, trials)
        written(path, chunks, 0)
        assert briefing.brief() == Brief.of(TrialTable(chunks))


def test_damage_behind_a_snapshot_is_told(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    chunks = played(tmp_path / "played.jsonl", 1)
    written(path, chunks, len(chunks) - 2)
    path.write_bytes(path.read_bytes()[:-20] + b"x" * 19 + b"\n")
    with pytest.raises(LedgerCorrupt):
        overview_of(FileLedger(path))


def test_they_are_made_when_a_ledger_has_grown_and_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "LEAST", 50)
    chunks = played(tmp_path / "played.jsonl", 1)
    ledger, table = FileLedger(tmp_path / "new" / "ledger.jsonl"), TrialTable()
    keeper, made = Snapshots(ledger), list[int]()
    for chunk in chunks:
        ledger.commit(chunk)
        table.apply_chunk(chunk)
        keeper.keep(table, chunk.n)
        if (data := ledger.snapshot()) and (n := snapshots.State.model_validate_json(data.split(b"\n")[1]).n):
            made += [n] if n not in made else []
    assert made[-1] == chunks[-1].n
    assert 3 <= len(made) <= len(chunks) / 20
    mode = (tmp_path / "new" / SNAPSHOT).stat().st_mode
    assert stat.S_IMODE(mode) == stat.S_IMODE((tmp_path / "new" / "ledger.jsonl").stat().st_mode)


def test_one_that_cannot_be_made_is_logged_once_and_nothing_else_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(self: FileLedger, n: int, data: bytes) -> None:
        raise StoreError(f"{os.strerror(28)} in {n // 1000}")

    monkeypatch.setattr(FileLedger, "keep_snapshot", refused)
    monkeypatch.setattr(snapshots, "LEAST", 10)
    chunks = played(tmp_path / "ledger.jsonl", 1)
    assert TrialTable(chunks).finish
    assert [record.getMessage() for record in caplog.records] == [
        "no snapshot was made, so looking at the sweep takes longer: No space left on device in 0"
    ]
