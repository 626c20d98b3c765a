"""What ``sweep gc`` shows, deletes, and says of what it leaves."""

from pathlib import Path

import pytest

from metta.sweep.stores.files import FileStore
from tests.cli.conftest import Caller
from tests.client.gathered import aged, files, undeleted


@pytest.fixture
def store(project: Path) -> FileStore:
    return FileStore(project / ".metta-sweep")


def test_it_shows_what_it_would_delete_and_deletes_it_when_it_is_told_to(
    call: Caller, store: FileStore
) -> None:
    undeleted(store.root, 6)
    for code in (b"code", b"x" * 2000):
        store.put_value(code)
    aged(store)
    before = files(store.root)
    header, *rows, empty, where, following = call.printed("gc").splitlines()
    assert header.split() == ["kind", "count", "size"]
    assert [row.split()[0] for row in rows] == ["checkpoints", "values"]
    assert rows[1].split()[1:] == ["2", "2.0", "KiB"]
    assert (empty, where) == ("", f"nobody needs that in {store.root}")
    assert following == "next: sweep gc --delete"
    assert files(store.root) == before
    *deleted, empty, where, following = call.printed("gc", "--delete").splitlines()
    assert deleted == [header, *rows]
    assert (where, following) == (f"deleted from {store.root}", "next: sweep ls")
    assert call.printed("gc").splitlines() == [f"nothing to delete in {store.root}", "next: sweep ls"]


def test_the_next_command_repeats_what_was_asked_for(call: Caller, store: FileStore) -> None:
    undeleted(store.root, 6, "one")
    told = call.printed("gc", "one", "--older-than", "7d").splitlines()
    assert told[-1] == "next: sweep gc one --older-than 7d --delete"


def test_machines_get_every_path(call: Caller, store: FileStore) -> None:
    name = store.put_value(b"code")
    aged(store, days=8)
    assert call.json("gc", "--older-than", "9d")["garbage"][1]["count"] == 0
    found = call.json("gc", "--older-than", "7d", "--delete")
    assert found["deleted"] is True
    assert found["garbage"][1] == {
        "kind": "values",
        "count": 1,
        "bytes": 4,
        "paths": [f"values/{name}.pkl"],
    }
    assert (found["left"], found["problems"]) == ([], [])
    assert not store.value_path(name).exists()


def test_a_damaged_ledger_is_an_error_and_the_rest_is_collected(call: Caller, store: FileStore) -> None:
    undeleted(store.root, 6, "hurt")
    undeleted(store.root, 6, "whole")
    ledger = store.sweep_folder("hurt") / "ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes().replace(b'"n":0', b'"n":1', 1))
    done = call("gc", "--delete")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {ledger}, line 1 (byte 0) is damaged")
    assert "left: values and blobs: what is damaged may refer to them" in done.stdout.splitlines()
    assert "deleted from" in done.stdout
    assert call.printed("gc", "whole").startswith("nothing to delete")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ("--older-than", "7"),
            2,
            "error: --older-than: write a number and m, h, d or w, such as 12h or 7d, got",
        ),
        (("--older-than", "30m"), 2, "error: the age of garbage: it has to be an hour or more, got 0:30:00"),
        (("absent",), 1, "error: there is no sweep or experiment 'absent' here"),
    ],
)
def test_wrong_usage_is_told_and_nothing_is_made(
    project: Path, call: Caller, arguments: tuple[str, ...], code: int, message: str
) -> None:
    done = call("gc", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(message)
    assert not (project / ".metta-sweep").exists()


def test_a_bucket_is_not_looked_through(call: Caller, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METTA_SWEEP_STORE", "s3://artifacts/x")
    done = call("gc")
    assert done.returncode == 2
    assert "sweep gc: s3://artifacts/x is not a folder: sweeps delete their needless" in done.stderr
