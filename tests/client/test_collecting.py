"""Garbage is found and deleted, and nothing else, in stores made by real sweeps."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Event
from time import sleep, time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import metta.sweep.search.checkpoints as deleting
from metta.sweep.client import collecting
from metta.sweep.client.results import table_of
from metta.sweep.client.settings import Settings
from metta.sweep.client.sweeps import Sweeps
from metta.sweep.client.underway import Underway
from metta.sweep.contracts.attempts import Attempt
from metta.sweep.contracts.errors import DefinitionError, SweepNotFound
from metta.sweep.contracts.events import TrialEvent
from metta.sweep.contracts.values import Value
from metta.sweep.stores import file_garbage
from metta.sweep.stores.data import DataStore
from metta.sweep.stores.files import FileStore
from metta.sweep.stores.lineage import needed_by
from tests.client.gathered import (
    aged,
    collect,
    counts,
    files,
    halving,
    names,
    packer,
    paths,
    recorded,
    undeleted,
)
from tests.search.components import Exploiter, component
from tests.search.played import Played
from tests.search.scripted import complete, report
from tests.stores.disks import run_on_disk

HEX = "0" * 64
BIG = list(range(2000))


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


def kept(store: FileStore, value: Any) -> Value:
    """A value that does not travel inline."""
    found = packer(store).kept(value, 0)
    assert found.kept
    return found


def blob(store: FileStore, value: Value) -> Path:
    return DataStore(store.root).path(str(value.kept))


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

    monkeypatch.setattr(deleting, "delete", lambda path: None)
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


# --- values, blobs and drafts ---


def test_values_and_blobs_that_nothing_refers_to_go_when_they_are_old(store: FileStore) -> None:
    needed, needless = kept(store, BIG), kept(store, BIG[1:])
    recorded(store, "e", needed)
    code = store.value_path(store.put_value(b"code"))
    assert collect(store).count == 0  # they are new
    aged(store, days=2)
    assert collect(store, older_than=timedelta(days=3)).count == 0
    assert counts(collect(store)) == {"checkpoints": 0, "values": 1, "blobs": 1, "drafts": 0}
    assert blob(store, needed).exists()
    assert not blob(store, needless).exists()
    assert not code.exists()


def test_what_a_kept_value_refers_to_stays_with_it_and_goes_with_it(store: FileStore) -> None:
    needed = kept(store, {"inner": b"x" * 5000, "more": [b"y" * 5000]})
    needless = kept(store, {"inner": b"z" * 5000})
    recorded(store, "e", needed)
    aged(store)
    assert counts(collect(store))["blobs"] == 2
    assert not blob(store, needless).exists()
    assert packer(store).unkept(needed) == {"inner": b"x" * 5000, "more": [b"y" * 5000]}


def test_what_a_new_value_refers_to_is_left_though_it_is_old(store: FileStore) -> None:
    needed = kept(store, {"inner": b"x" * 5000})
    aged(store)
    os.utime(blob(store, needed))
    assert collect(store).count == 0


@pytest.mark.parametrize("place", ["cache/e/1.json", "experiments/e/checkpoints/s.json", "experiments/e/a/b"])
def test_what_hooks_have_left_refers_too(store: FileStore, place: str) -> None:
    recorded(store, "e", Value(packed=1))
    needed = kept(store, BIG)
    entry = store.root / place
    entry.parent.mkdir(parents=True, exist_ok=True)
    entry.write_text(json.dumps({"$blob": needed.kept}), "utf-8")
    aged(store)
    assert collect(store).count == 0
    entry.unlink()
    assert counts(collect(store))["blobs"] == 1


def test_code_and_observations_that_a_ledger_names_stay(store: FileStore) -> None:
    code, told = store.put_value(b"code"), store.put_value(b"")
    store.put_value(b"other")
    Played(
        store.sweep_folder("s"),
        lambda attempt: iter([complete(attempt, acc=1.0)]),
        objective=f"value:{code}:train",
        warm_start=[f"value:{told}"],
    ).run(trials=1)
    aged(store)
    assert counts(collect(store))["values"] == 1
    assert store.value_path(code).exists()
    assert store.value_path(told).exists()


def test_who_puts_something_there_again_counts_on_it(store: FileStore) -> None:
    value, code = kept(store, BIG), store.put_value(b"code")
    aged(store)
    told = collect(store, delete=False)
    assert counts(told) == {"checkpoints": 0, "values": 1, "blobs": 1, "drafts": 0}
    assert kept(store, BIG) == value
    assert store.put_value(b"code") == code
    assert collect(store).count == 0


def test_drafts_go_after_a_day_and_nothing_that_only_looks_like_one(store: FileStore) -> None:
    recorded(store, "e", Value(packed=1))
    drafts = [
        f"values/.{HEX}.pkl-abc_d123",
        "data/.abc_d123",
        "launches/.s.json-abc_d123",
        f"cache/stage/.1.json.{HEX[:32]}",
        f"experiments/e/checkpoints/.s.json.{HEX[:32]}",
        "sweeps/s/trials/0/seg-0/try-1/.exit.json-0123456789ab",
        "sweeps/s/trials/0/seg-0/try-1/.claim-0123456789ab/holder.json",
    ]
    theirs = ["values/.x", "data/.gitkeep", "cache/.notes", "experiments/e/.a-abc_d123", "notes/.abc_d123"]
    undeleted(store.root, 1)
    for name in (*drafts, *theirs):
        path = store.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert counts(collect(store))["drafts"] == 0
    aged(store)
    then = time() - timedelta(days=2).total_seconds()
    os.utime((store.root / drafts[-1]).parent, (then, then))
    assert counts(collect(store, older_than=timedelta(hours=1)))["drafts"] == len(drafts)
    assert [name for name in drafts if (store.root / name).exists()] == []
    assert [name for name in theirs if not (store.root / name).exists()] == []


def test_files_of_the_users_in_the_folders_of_values_and_blobs_stay(store: FileStore) -> None:
    theirs = [f"data/00/{HEX[1:]}.json", f"data/01/{HEX}.json", f"data/{HEX}.json", "values/notes.pkl"]
    for name in theirs:
        (store.root / name).parent.mkdir(parents=True, exist_ok=True)
        (store.root / name).touch()
    link = store.root / f"data/00/{HEX}.json"
    link.symlink_to("elsewhere")
    aged(store)
    assert collect(store).count == 0
    assert link.is_symlink()


def test_folders_that_links_lead_to_may_be_other_stores_too(store: FileStore, tmp_path: Path) -> None:
    store.prepare()
    (tmp_path / "shared").mkdir()
    (store.root / "data").symlink_to(tmp_path / "shared")
    kept(store, BIG)
    aged(FileStore(tmp_path / "shared"))
    found = collect(store)
    assert found.count == 0
    assert found.left == ("values and blobs: data is a link to a folder that may be other stores', too",)


# --- what is going on meanwhile ---


def test_what_is_put_there_at_the_moment_of_its_deletion_is_there_afterwards(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a look at its age and its deletion somebody else puts the same there again."""
    value, code = kept(store, BIG), store.put_value(b"code")
    aged(store)
    look = file_garbage._written
    with ThreadPoolExecutor(2) as pool:
        puts: list[Future[Any]] = []

        def looked(path: Path) -> float:
            at = look(path)
            is_value = path.parent.name == "values"
            puts.append(pool.submit(store.put_value, b"code") if is_value else pool.submit(kept, store, BIG))
            sleep(0.3)  # long enough for it to be done, if it did not wait
            return at

        monkeypatch.setattr(file_garbage, "_written", looked)
        assert counts(collect(store)) == {"checkpoints": 0, "values": 1, "blobs": 1, "drafts": 0}
        assert [put.result() for put in puts] == [code, value]
    assert packer(store).unkept(value) == BIG
    assert store.value_path(code).read_bytes() == b"code"


def test_what_was_put_there_since_something_runs_is_left_however_old_it_is(store: FileStore) -> None:
    """A workflow may hold what it was given and has not recorded."""
    before, since = store.put_value(b"before"), store.put_value(b"since")
    days = timedelta(days=1).total_seconds()
    for name, age in ((before, 5), (since, 3)):
        os.utime(store.value_path(name), (time() - age * days, time() - age * days))
    runs = Underway(frozenset({"absent"}), time() - 4 * days)
    found = collecting._Collection(store, runs, time() - days).collected((), delete=True)
    assert list(paths(found)) == [f"values/{before}.pkl"]
    assert store.value_path(since).exists()


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


PARTS = st.recursive(
    st.integers(0, 5) | st.sampled_from([b"a" * 2000, b"b" * 2000, b"c" * 2000, "x" * 5000]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("klm"), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.tuples(PARTS, st.booleans(), st.booleans()), min_size=1, max_size=6))
def test_whatever_is_recorded_can_be_read_and_nothing_else_old_is_left(
    values: list[tuple[Any, bool, bool]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = FileStore(Path(folder))
        needed = [(value, kept(store, value)) for value, is_needed, _ in values if is_needed]
        for value, _, _ in values:
            kept(store, value)
        if needed:
            recorded(store, "e", *(packed for _, packed in needed))
        aged(store)
        new = [(value, kept(store, value)) for value, _, is_new in values if is_new]
        collect(store)
        for value, packed in needed + new:
            assert packer(store).unkept(packed) == value
        left = {path.name for path in store.root.glob("data/*/*")}
        shutil.rmtree(store.root / "data", ignore_errors=True)
        for value, _ in needed + new:
            kept(store, value)
        assert left == {path.name for path in store.root.glob("data/*/*")}


def test_settings_lead_to_the_store(project: Path) -> None:
    undeleted(Path(".metta-sweep").absolute(), 6)
    assert Sweeps().gc().store == str(Settings.load().store)
    assert counts(Sweeps().gc(delete=True))["checkpoints"] > 0
