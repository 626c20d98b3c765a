"""Garbage is found and deleted, and nothing else, in stores made by real sweeps."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Event
from time import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import metta.sweep.stores.workplaces as deleting
from metta.sweep.client import collecting
from metta.sweep.client.results import table_of
from metta.sweep.client.settings import Settings
from metta.sweep.client.sweeps import Sweeps
from metta.sweep.client.underway import Underway
from metta.sweep.contracts.attempts import Attempt
from metta.sweep.contracts.errors import DefinitionError, SweepNotFound
from metta.sweep.contracts.events import TrialEvent
from metta.sweep.contracts.values import Value
from metta.sweep.stores.files import FileStore
from metta.sweep.stores.lineage import needed_by
from tests.client.gathered import (
    BIG,
    aged,
    collect,
    counts,
    files,
    halving,
    kept,
    names,
    paths,
    recorded,
    undeleted,
)
from tests.search.components import Exploiter, component
from tests.search.played import Played
from tests.search.scripted import complete, report
from tests.stores.disks import run_on_disk

HEX = "0" * 64


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


# --- checkpoints ---


def test_what_killed_sessions_have_left_goes_as_if_they_had_not_been_killed(tmp_path: Path) -> None:
    killed, alive = FileStore(tmp_path / "killed"), FileStore(tmp_path / "alive")
    undeleted(killed.root, 12)
    halving(alive.root, 12)
    assert set(names(killed.root)) > set(names(alive.root))
    found = collect(killed)
    assert names(killed.root) == names(alive.root)
    assert counts(found)["checkpoints"] > 10
    assert (found.left, found.problems) == ((), ())


def test_without_delete_the_same_is_only_told(store: FileStore) -> None:
    undeleted(store.root, 12)
    before = files(store.root)
    told = collect(store, delete=False)
    assert files(store.root) == before
    assert not told.deleted
    deleted = collect(store)
    assert (deleted.deleted, deleted.garbage) == (True, told.garbage)
    assert not any((store.root / path).exists() for path in paths(deleted))
    assert sum(share.bytes for share in told.garbage) > 0
    assert collect(store).count == 0


def test_an_earlier_attempts_checkpoint_stays_while_a_copy_begins_with_it(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trains(attempt: Attempt) -> Iterator[TrialEvent]:
        folder = Path(attempt.folder) / "checkpoints"
        folder.mkdir(parents=True)
        for step in range((attempt.step or 0) + 1, 5):
            (folder / f"{step}").touch()
            # a copy reports none of its own
            named = {} if attempt.resume_from else {"checkpoint": str(folder / f"{step}")}
            yield report(attempt, step, acc=attempt.trial + step / 8, **named)
        yield complete(attempt)

    monkeypatch.setattr(deleting, "deleted", lambda path: None)
    Played(store.sweep_folder("s"), trains, slots=2, scheduler=component(Exploiter)).run(trials=6)
    table = table_of(store.ledger("s"))
    borrowed = [r for r in table.records if r.checkpoint and f"trials/{r.number}/" not in r.checkpoint]
    assert borrowed
    assert counts(collect(store))["checkpoints"] > 0
    for record in table.records:
        if checkpoint := needed_by(record):
            assert (store.sweep_folder("s") / checkpoint).exists()


def test_only_the_sweeps_that_are_named_are_looked_at(store: FileStore) -> None:
    undeleted(store.root, 6, "one")
    undeleted(store.root, 6, "other")
    store.put_value(b"code")
    aged(store)
    found = collect(store, "one")
    assert {path.split("/")[1] for path in paths(found)} == {"one"}
    assert {path.split("/")[1] for path in paths(collect(store, delete=False)) if "trials" in path} == {
        "other"
    }
    with pytest.raises(SweepNotFound, match="there is no sweep or experiment 'ome' here; did you mean one"):
        collect(store, "ome")


def test_a_trials_logs_reports_and_own_files_are_never_deleted(store: FileStore) -> None:
    undeleted(store.root, 6)
    attempts = list(store.root.glob("sweeps/s/trials/*/seg-*/try-*"))
    for attempt in attempts:
        for name in ("log.txt", "reports.jsonl", "trial.json", "my model", ".mine", ".my-012345678901"):
            (attempt / name).touch()
    strange = store.sweep_folder("s") / "trials/99/seg-0/try-1/checkpoints/x"
    strange.parent.mkdir(parents=True)
    strange.touch()
    aged(store)
    assert counts(collect(store))["checkpoints"] > 0
    assert len(list(store.root.glob("sweeps/s/trials/*/seg-*/try-*/*[!s]"))) >= 4 * len(attempts)
    assert all((attempt / ".my-012345678901").exists() for attempt in attempts)
    assert strange.exists()


def test_a_sweep_that_has_not_ended_is_left_while_a_debugger_may_hold_it(store: FileStore) -> None:
    undeleted(store.root, 12)
    ledger = store.sweep_folder("s") / "ledger.jsonl"
    lines = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b"".join(lines[:-1]))  # without its end
    found = collect(store)
    assert found.count == 0
    assert len(found.left) == 1
    assert found.left[0].startswith("s: it has not ended, and something was recorded ")
    assert found.left[0].endswith(" ago: a debugger may hold it")


# --- what is going on meanwhile ---


def test_what_a_running_experiment_consists_of_runs_too(store: FileStore) -> None:
    undeleted(store.root, 6)
    store.sweep_folder("s").rename(store.sweep_folder("e/stage"))
    found = collecting._Collection(store, Underway(frozenset({"e"})), time()).collected((), delete=True)
    assert (found.count, found.left) == (0, ("e/stage: it runs",))
    other = collecting._Collection(store, Underway(frozenset({"e/sta"})), time()).collected((), delete=True)
    assert other.count > 0


def test_a_sweep_that_nobody_knows_to_run_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that starts when it has just been looked for what runs."""
    beside, alone = FileStore(tmp_path / "beside"), FileStore(tmp_path / "alone")
    monkeypatch.setattr(collecting._Collection, "_reason", lambda *_: "")
    over, times = Event(), []

    def collect_on() -> None:
        while not over.is_set():
            times.append(collect(beside).count)

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(collect_on)
        try:
            for trials in (9, 18, 27):
                undeleted(beside.root, trials, resume=trials > 9)
        finally:
            over.set()
        done.result()
    for trials in (9, 18, 27):
        halving(alone.root, trials, resume=trials > 9)
    assert sum(count > 0 for count in times) > 3
    collect(beside)
    assert told(beside) == told(alone)
    assert names(beside.root) == names(alone.root)


# --- damage ---


@pytest.mark.parametrize("damaged", ["sweeps/hurt/ledger.jsonl", "experiments/e/outcomes.jsonl"])
def test_what_a_damaged_record_could_refer_to_is_left_and_the_record_is_named(
    store: FileStore, damaged: str
) -> None:
    undeleted(store.root, 6, "hurt")
    undeleted(store.root, 6, "whole")
    recorded(store, "e", kept(store, BIG))
    recorded(store, "e2", Value(packed=1))
    kept(store, BIG[1:])
    aged(store)
    log = store.root / damaged
    log.write_bytes(log.read_bytes().replace(b'"n":0', b'"n":1', 1))
    found = collect(store)
    assert [str(log) in problem for problem in found.problems] == [True]
    assert found.left == ("values and blobs: what is damaged may refer to them",)
    assert {path.split("/")[1] for path in paths(found)} == {"hurt", "whole"} - {damaged.split("/")[1]}
    assert not any("data/" in path for path in paths(found))


@pytest.mark.parametrize("lost", ["gone", "without a line"])
def test_a_sweep_without_a_record_is_left_and_so_is_what_it_could_refer_to(
    store: FileStore, lost: str
) -> None:
    undeleted(store.root, 6)
    kept(store, BIG)
    ledger = store.sweep_folder("s") / "ledger.jsonl"
    if lost == "gone":
        ledger.unlink()
    else:
        ledger.write_bytes(b"torn")
    aged(store)
    found = collect(store)
    assert found.count == 0
    assert found.left[0].startswith("values and blobs: there is something in sweeps/s, and no record")


def test_values_younger_than_an_hour_cannot_be_asked_for(store: FileStore) -> None:
    with pytest.raises(DefinitionError, match=r"an hour or more, got 0:59:00: somebody may be about to"):
        collect(store, older_than=timedelta(minutes=59))


def test_an_empty_project_has_none(store: FileStore) -> None:
    found = collect(store)
    assert (found.count, found.left, found.problems) == (0, (), ())
    assert not store.root.exists()


def test_in_a_read_only_store_garbage_is_told_and_deleting_is_refused(tmp_path: Path) -> None:
    told = run_on_disk(
        tmp_path / "disk",
        "size=4m",
        """
        import subprocess, sys
        from pathlib import Path
        from metta.sweep.contracts.errors import StoreError
        from metta.sweep.stores.files import FileStore
        from tests.client.gathered import aged, collect, counts, files, undeleted

        store = FileStore(Path(sys.argv[1]) / "store")
        undeleted(store.root, 6)
        store.put_value(b"code")
        aged(store)
        subprocess.run(["mount", "-o", "remount,ro", sys.argv[1]], check=True)
        before = files(store.root)
        told = counts(collect(store, delete=False))
        assert told["checkpoints"] > 0, told
        assert told["values"] == 1, told
        try:
            collect(store)
        except StoreError as error:
            print(str(error).replace(sys.argv[1], "disk"))
        assert files(store.root) == before
        """,
    )
    assert (
        told == "disk/store cannot be written: Read-only file system; allow it, or put the store elsewhere\n"
    )


# --- at random ---


@settings(max_examples=15, deadline=None)
@given(trials=st.integers(1, 14), more=st.integers(1, 8), seed=st.integers(0, 99), dies=st.booleans())
def test_a_sweep_goes_on_as_it_would_have_without(trials: int, more: int, seed: int, dies: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store, other = FileStore(Path(folder, "store")), FileStore(Path(folder, "other"))
        (undeleted if dies else halving)(store.root, trials, seed=seed)
        shutil.copytree(store.root, other.root)
        collect(store)
        for record in table_of(store.ledger("s")).records:
            if checkpoint := needed_by(record):
                json.loads((store.sweep_folder("s") / checkpoint).read_text("utf-8"))
        for each in (store, other):
            halving(each.root, trials + more, seed=seed, resume=True)
        assert told(store) == told(other)
        assert names(store.root) == names(other.root)  # the session had deleted the same


def told(store: FileStore) -> list[Any]:
    """What became of each trial."""
    return [
        (r.params, r.status, r.metrics, r.step, r.checkpoint) for r in table_of(store.ledger("s")).records
    ]


def test_settings_lead_to_the_store(project: Path) -> None:
    undeleted(Path(".metta-sweep").absolute(), 6)
    assert Sweeps().gc().store == Settings.load().store.address
    assert counts(Sweeps().gc(delete=True))["checkpoints"] > 0
