"""Stores on disks that are full, nearly full, read-only or forbidden, and records that are damaged."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.client.health import store
from metta.sweep.client.health.examination import examined
from metta.sweep.stores.files import FileStore
from tests.client.gathered import files, halving
from tests.client.health.looks import codes, look
from tests.rights import without_rights
from tests.stores.disks import ROOT, run_on_disk
from tests.stores.weed import Weed

LOOK = """
import asyncio, json, os, sys
from metta.sweep.client.health.examination import examined
os.environ["METTA_SWEEP_STORE"] = sys.argv[1]
print(json.dumps([f.model_dump() for f in asyncio.run(examined())]))
"""

Told = list[dict[str, Any]]


def problems(told: str) -> Told:
    """What was found to be wrong, as a process told it."""
    return [found for found in json.loads(told) if found["severity"] == "problem"]


def test_a_full_disk_is_told_with_what_frees_it(tmp_path: Path) -> None:
    fill = 'import sys; from tests.crash.filling import fill, Path; fill(Path(sys.argv[1], "ballast"))\n'
    [full] = problems(run_on_disk(tmp_path / "disk", "size=256k", fill + LOOK))
    assert (full["code"], full["subject"]) == ("store-full", f"{tmp_path}/disk")
    assert full["text"].startswith(f"no room is left for {tmp_path}/disk")
    assert full["command"] == "sweep gc"


def test_a_disk_with_room_leaves_no_trace_and_is_called_low(tmp_path: Path) -> None:
    trace = "print(json.dumps(sorted(os.listdir(sys.argv[1]))))\n"
    told, left = run_on_disk(tmp_path / "disk", "size=4m", LOOK + trace).splitlines()
    [low] = [found for found in json.loads(told) if found["severity"] != "note"]
    assert (low["code"], low["severity"]) == ("store-low", "warning")
    assert low["text"] == f"only 4.0 MiB are free on the disk of {tmp_path}/disk"
    assert json.loads(left) == []


def test_a_disk_without_room_for_more_files_is_called_low(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "LOW_BYTES", 0)
    told = run_on_disk(project / "disk", "size=4m,nr_inodes=50", LOOK.replace("import asyncio", PATCHED))
    [low] = [found for found in json.loads(told) if found["severity"] != "note"]
    assert low["text"].startswith(f"the disk of {project}/disk has room for only ")


PATCHED = "from metta.sweep.client.health import store; store.LOW_BYTES = 0\nimport asyncio"


def test_a_read_only_disk_is_told_with_where_to_look(tmp_path: Path) -> None:
    wrong = problems(run_on_disk(tmp_path / "disk", "ro", LOOK))
    [forbidden] = [found for found in wrong if found["code"] == "store-forbidden"]
    assert "Read-only file system" in forbidden["text"]
    assert forbidden["command"] == f"findmnt --target {tmp_path}/disk"


def looked_without_rights(root: Path) -> Told:
    """What a user finds to whom the rights of files apply, as they do not to root."""
    command = without_rights([sys.executable, "-c", LOOK, str(root)])
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stderr
    return problems(done.stdout)


def test_a_store_that_may_not_be_written_is_told(project: Path) -> None:
    halving(project / "store", 2)
    (project / "store").chmod(0o500)
    found = looked_without_rights(project / "store")
    (project / "store").chmod(0o700)
    [forbidden] = [one for one in found if one["code"] == "store-forbidden"]
    assert forbidden["text"].startswith(f"{project}/store cannot be written: Permission denied")
    assert forbidden["command"] == f"ls -ld {project}/store"


def test_a_record_that_may_not_be_read_is_told_and_others_are_read(project: Path) -> None:
    for name in ("mine", "theirs"):
        halving(project / "store", 2, name)
    ledger = FileStore(project / "store").sweep_folder("theirs") / "ledger.jsonl"
    ledger.chmod(0o000)
    found = looked_without_rights(project / "store")
    ledger.chmod(0o600)
    assert {one["code"] for one in found} == {"store-forbidden"}
    assert {one["subject"] for one in found} == {str(ledger), "theirs"}
    assert f"sudo chown -R {os.geteuid()}:{os.getegid()} {project}/store" in [f["command"] for f in found]


async def test_a_damaged_record_is_named_with_the_way_to_save_the_rest(project: Path) -> None:
    root = project / ".metta-sweep"
    for name in ("whole", "hurt"):
        halving(root, 3, name)
    ledger = FileStore(root).sweep_folder("hurt") / "ledger.jsonl"
    lines = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b"".join([*lines[:2], lines[2].replace(b'"n":2', b'"n":7'), *lines[3:]]))
    before = files(root)
    [damaged] = await look("record-damaged")
    assert damaged.subject == "hurt"
    assert damaged.text.startswith(f"the record of hurt is damaged: {ledger}, line 3: ")
    subprocess.run(damaged.command, shell=True, check=True)
    assert ledger.with_name("repaired.jsonl").read_bytes() == b"".join(lines[:2])
    ledger.with_name("repaired.jsonl").replace(ledger)
    assert codes(await examined()) == set()
    assert files(root) == before


async def test_what_takes_too_long_to_read_is_told(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    halving(project / ".metta-sweep", 2)
    monkeypatch.setattr("metta.sweep.client.health.examination.RECORDS_S", -1.0)
    [untold] = await look("not-checked")
    assert untold.severity == "warning"
    assert "1 records were not read in time" in untold.text


async def test_a_bucket_is_written_and_read_and_left_as_it_was(
    project: Path, weed: Weed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METTA_SWEEP_STORE", "s3://artifacts/healthy")
    found = await examined()
    assert codes(found) == set()
    assert "s3://artifacts/healthy can be written and read" in [finding.text for finding in found]
    assert weed.objects("healthy").listed() == []
    monkeypatch.setenv("METTA_SWEEP_STORE", "s3://nowhere/at-all")
    [broken] = await look("store-broken")
    assert broken.text.startswith("there is no bucket nowhere at ")
