"""Mirrors: what was kept is there on every machine, and nothing else is taken for it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest

from metta.sweep.contracts.errors import StoreError
from metta.sweep.stores.mirrors import Mirror
from metta.sweep.stores.objects import Found, Objects
from tests.stores.asked import Asked

CHECKPOINT = "trials/3/seg-0/try-1/checkpoints/7"

Machines = Callable[[str], Mirror]


@pytest.fixture
def machine(objects: Objects, tmp_path: Path) -> Machines:
    """Mirrors of the same sweep on machines of different names."""
    return lambda name: Mirror(tmp_path / name, objects.below("sweeps/digits"))


def write(mirror: Mirror, name: str, text: str) -> None:
    path = mirror.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def text(mirror: Mirror, name: str) -> str:
    return (mirror.path / name).read_text("utf-8")


def files_below(folder: Path) -> Iterator[str]:
    return (f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file())


def test_a_file_that_was_kept_is_fetched_elsewhere(machine: Machines) -> None:
    one, other = machine("one"), machine("other")
    write(one, CHECKPOINT, "weights")
    one.keep(CHECKPOINT)
    other.fetch(CHECKPOINT)
    assert text(other, CHECKPOINT) == "weights"
    assert list(files_below(other.path)) == [CHECKPOINT]


def test_a_folder_is_fetched_as_it_was_kept_last(machine: Machines) -> None:
    one, other = machine("one"), machine("other")
    for name in ("a.bin", "deep/b.bin"):
        write(one, f"{CHECKPOINT}/{name}", name)
    write(one, f"{CHECKPOINT}0", "of a similar name")
    one.keep(CHECKPOINT)
    one.keep(f"{CHECKPOINT}0")
    (one.path / CHECKPOINT / "a.bin").unlink()
    write(one, f"{CHECKPOINT}/c.bin", "c")
    one.keep(CHECKPOINT)
    write(other, f"{CHECKPOINT}/stale.bin", "of an earlier process")
    other.fetch(CHECKPOINT)
    assert sorted(files_below(other.path / CHECKPOINT)) == ["c.bin", "deep/b.bin"]
    assert text(other, f"{CHECKPOINT}/c.bin") == "c"


def test_what_lies_here_from_an_earlier_process_is_not_trusted(machine: Machines) -> None:
    write(machine("one"), CHECKPOINT, "old")
    machine("one").keep(CHECKPOINT)
    write(machine("other"), CHECKPOINT, "new")
    machine("other").keep(CHECKPOINT)
    machine("one").fetch(CHECKPOINT)
    assert text(machine("one"), CHECKPOINT) == "new"


def test_what_this_process_has_kept_or_fetched_is_not_copied_again(
    machine: Machines, objects: Objects
) -> None:
    one, other = machine("one"), machine("other")
    write(one, CHECKPOINT, "weights")
    one.keep(CHECKPOINT)
    other.fetch(CHECKPOINT)
    with Asked(objects) as asked:
        one.fetch(CHECKPOINT)
        other.fetch(CHECKPOINT)
    assert asked.names == []


def test_many_that_fetch_at_once_find_it_whole(machine: Machines) -> None:
    for part in range(20):
        write(machine("one"), f"{CHECKPOINT}/{part}", "x" * 1000)
    machine("one").keep(CHECKPOINT)
    other, found = machine("other"), list[int]()

    def fetch() -> None:
        other.fetch(CHECKPOINT)
        found.append(sum(len(text(other, f"{CHECKPOINT}/{part}")) for part in range(20)))

    threads = [Thread(target=fetch) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [20_000] * 8


def test_what_is_missing_is_named(machine: Machines) -> None:
    one = machine("one")
    with pytest.raises(StoreError, match=f"{CHECKPOINT} cannot be kept: it is missing, or a folder without"):
        one.keep(CHECKPOINT)
    with pytest.raises(StoreError, match=rf"s3://.*/sweeps/digits/{CHECKPOINT} is missing; restore it"):
        one.fetch(CHECKPOINT)
    (one.path / CHECKPOINT).mkdir(parents=True)
    with pytest.raises(StoreError, match="a folder without a file"):
        one.keep(CHECKPOINT)


def test_what_is_dropped_is_gone_here_and_there(machine: Machines, objects: Objects) -> None:
    one, other = machine("one"), machine("other")
    write(one, f"{CHECKPOINT}/a", "a")
    write(one, f"{CHECKPOINT}1", "of a similar name")
    one.keep(CHECKPOINT)
    one.keep(f"{CHECKPOINT}1")
    other.drop(CHECKPOINT)
    one.drop(CHECKPOINT)
    one.drop(CHECKPOINT)
    assert list(files_below(one.path)) == [f"{CHECKPOINT}1"]
    assert [found.key for found in objects.listed("sweeps/")] == [f"sweeps/digits/{CHECKPOINT}1"]
    with pytest.raises(StoreError, match="is missing"):
        one.fetch(CHECKPOINT)


def test_a_path_has_the_same_name_on_every_machine(machine: Machines, tmp_path: Path) -> None:
    one, other = machine("one"), machine("other")
    path = str(one.path / CHECKPOINT)
    assert one.name_of(path) == other.name_of(path) == CHECKPOINT
    assert other.here(path) == str(other.path / CHECKPOINT)
    assert other.here(f"{one.address}/{CHECKPOINT}") == str(other.path / CHECKPOINT)
    elsewhere = str(tmp_path / "mine.bin")
    assert (one.name_of(elsewhere), one.here(elsewhere)) == (None, elsewhere)
    (tmp_path / "link").symlink_to(one.path)
    assert one.name_of(str(tmp_path / "link" / CHECKPOINT)) == CHECKPOINT


@pytest.mark.parametrize("detour", ["{}/", "{}//7", "x/../{}", "./{}"])
def test_a_path_with_detours_has_the_same_name(machine: Machines, detour: str) -> None:
    one, other = machine("one"), machine("other")
    folder = "trials/3/seg-0/try-1/checkpoints"
    write(one, f"{folder}/7", "weights")
    written = f"{one.path}/{detour.format(folder)}"
    name = other.name_of(written)
    assert name is not None
    assert name in (folder, f"{folder}/7")
    one.keep(name)
    other.fetch(name)
    assert text(other, f"{folder}/7") == "weights"


@pytest.mark.parametrize("way", ["..", "../mine", "a/../../mine", "trials/../../.."])
def test_no_name_leads_out_of_the_folder(machine: Machines, way: str) -> None:
    one = machine("one")
    write(one, "../mine", "precious")
    assert one.name_of(f"{one.path}/{way}") is None
    for act in (one.keep, one.fetch, one.drop, one.has):
        with pytest.raises(StoreError, match="is no name of anything in the folder of a sweep"):
            act(way)
    assert text(one, "../mine") == "precious"


def test_what_lies_under_a_strange_key_is_not_fetched(
    machine: Machines, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = machine("one")
    found = [Found(f"{CHECKPOINT}/../../../../../../evil", 4)]
    monkeypatch.setattr(Objects, "listed", lambda *_: found)
    with pytest.raises(StoreError, match="is no name of anything"):
        one.fetch(CHECKPOINT)
    assert list(files_below(one.path.parent)) == []


def test_what_vanishes_while_it_is_fetched_is_missing_and_not_empty(
    machine: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = machine("one")
    monkeypatch.setattr(Objects, "listed", lambda *_: [Found(f"{CHECKPOINT}/gone", 4)])
    with pytest.raises(StoreError, match=f"{CHECKPOINT}/gone was deleted at this moment"):
        one.fetch(CHECKPOINT)
    assert not (one.path / CHECKPOINT).exists()


def test_what_was_deleted_here_is_fetched_again(machine: Machines) -> None:
    one = machine("one")
    write(one, CHECKPOINT, "weights")
    one.keep(CHECKPOINT)
    (one.path / CHECKPOINT).unlink()
    one.fetch(CHECKPOINT)
    assert text(one, CHECKPOINT) == "weights"


def test_what_is_kept_as_it_is_is_not_sent_again(machine: Machines, objects: Objects) -> None:
    one = machine("one")
    write(one, CHECKPOINT, "weights")
    one.keep(CHECKPOINT)
    with Asked(objects) as asked:
        one.keep(CHECKPOINT)
    assert asked.names == []
    write(one, CHECKPOINT, "other weights")
    one.keep(CHECKPOINT)
    machine("other").fetch(CHECKPOINT)
    assert text(machine("other"), CHECKPOINT) == "other weights"


def test_one_machine_has_a_name_and_keeps_it(machine: Machines) -> None:
    name = "trials/0/seg-0/try-1/machine"
    assert machine("one").claim(name)
    assert machine("one").claim(name)
    assert not machine("other").claim(name)
    assert machine("other").claim(f"{name}2")


def test_a_file_that_grows_is_read_as_far_as_it_was_kept(machine: Machines) -> None:
    one, other = machine("one"), machine("other")
    name = "trials/0/seg-0/try-1/reports.jsonl"
    assert other.part(name, 0, 10) == b""
    write(one, name, "0123456789")
    one.keep(name)
    write(one, name, "0123456789 and more")
    assert other.part(name, 4, 7) == b"456"
    assert other.part(name, 8, 100) == b"89"
    assert other.part(name, 10, 20) == other.part(name, 20, 30) == other.part(name, 5, 5) == b""
    assert other.part(name, 0, None) == b"0123456789"


def test_attempts_are_found_wherever_they_left_something(machine: Machines) -> None:
    one, other = machine("one"), machine("other")
    write(one, CHECKPOINT, "weights")
    one.keep(CHECKPOINT)
    write(other, "trials/4/seg-1/try-2/checkpoints/1", "here alone")
    write(one, "trials/5/seg-0/try-1/reports.jsonl", "none")
    one.keep("trials/5/seg-0/try-1/reports.jsonl")
    assert list(other.attempts("checkpoints")) == ["trials/3/seg-0/try-1", "trials/4/seg-1/try-2"]
