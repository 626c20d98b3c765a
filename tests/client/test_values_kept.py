"""Values, blobs and drafts go when nothing refers to them, and not before."""

import json
import os
import shutil
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from time import sleep, time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep.client import collecting
from metta.sweep.client.underway import Underway
from metta.sweep.contracts.values import Value
from metta.sweep.stores import file_garbage
from metta.sweep.stores.files import FileStore
from tests.client.gathered import (
    BIG,
    aged,
    blob,
    collect,
    counts,
    kept,
    packer,
    paths,
    recorded,
    undeleted,
)
from tests.search.played import Played
from tests.search.scripted import complete

HEX = "0" * 64


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


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
