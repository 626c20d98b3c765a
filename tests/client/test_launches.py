import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Timer
from time import monotonic, sleep

import pytest

from metta.sweep.client.detached import wait_until_free
from metta.sweep.client.launches import Launches
from metta.sweep.client.locks import held
from metta.sweep.contracts.attempts import Code
from metta.sweep.contracts.errors import ServerError
from tests.rig import PATIENCE_S, pid_in

NAME = "exp-1.2"
PYTHON = """#!/bin/sh
env >{folder}/environment
echo "$@" >{folder}/arguments
exec sleep 60
"""


@pytest.fixture
def launches(tmp_path: Path) -> Iterator[Launches]:
    """Launches of a store; no worker outlives the test."""
    made = Launches(tmp_path / "store")
    yield made
    made.stop()


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An interpreter that tells how it was started, and then sleeps."""
    file = tmp_path / "python"
    file.write_text(PYTHON.format(folder=tmp_path), "utf-8")
    file.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(file))
    return file


def code(folder: Path) -> Code:
    return Code(objective="", cwd=str(folder), path=(str(folder), "/elsewhere"))


def told(file: Path) -> str:
    """What the interpreter has told by now."""
    deadline = monotonic() + PATIENCE_S
    while not (text := file.read_text("utf-8") if file.exists() else ""):
        assert monotonic() < deadline
        sleep(0.01)
    return text


@pytest.mark.usefixtures("python")
def test_a_worker_is_started_as_it_was_launched(tmp_path: Path, launches: Launches) -> None:
    launches.open(NAME, code(tmp_path))
    store = tmp_path / "store"
    assert told(tmp_path / "arguments") == f"-m metta.sweep.worker --launch {NAME} --home {store}\n"
    assert launches.is_alive(NAME)
    assert launches.unfinished() == [NAME]
    assert f"PYTHONPATH={tmp_path}:/elsewhere\n" in told(tmp_path / "environment")


@pytest.mark.usefixtures("python")
@pytest.mark.parametrize("way", ["revive", "reopen"])
def test_another_terminal_starts_it_in_the_environment_of_the_first(
    tmp_path: Path, launches: Launches, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    launches.open(NAME, code(tmp_path))
    before = launches.read(NAME)
    told(tmp_path / "environment")
    launches.stop()
    (tmp_path / "environment").unlink()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "temporal.example.org:7233")
    monkeypatch.setattr(sys, "executable", "/another/python")
    if way == "revive":
        launches.revive()
    else:
        launches.reopen(NAME)
    environment = told(tmp_path / "environment")
    assert "CUDA_VISIBLE_DEVICES=1\n" in environment
    assert "TEMPORAL_ADDRESS" not in environment
    assert launches.read(NAME) == before


@pytest.mark.usefixtures("python")
def test_a_worker_is_started_once(tmp_path: Path, launches: Launches) -> None:
    launches.open(NAME, code(tmp_path))
    pid = pid_in(launches.lock(NAME))
    launches.open(NAME, code(tmp_path))
    launches.revive()
    launches.reopen(NAME)
    assert pid_in(launches.lock(NAME)) == pid


@pytest.mark.usefixtures("python")
def test_a_launch_is_not_closed_by_a_worker_that_has_not_seen_the_newest(
    tmp_path: Path, launches: Launches
) -> None:
    launches.open(NAME, code(tmp_path))
    seen = launches.read(NAME)
    launches.open(NAME, code(tmp_path))
    assert not launches.close(NAME, seen.generation)
    assert launches.unfinished() == [NAME]
    newest = launches.read(NAME)
    assert newest.opened_at > seen.opened_at
    assert launches.close(NAME, newest.generation)
    assert launches.unfinished() == []


@pytest.mark.usefixtures("python")
@pytest.mark.parametrize("way", ["open", "reopen"])
def test_a_worker_that_takes_its_leave_has_a_successor(tmp_path: Path, launches: Launches, way: str) -> None:
    launches.open(NAME, code(tmp_path))
    first = pid_in(launches.lock(NAME))
    launches.close(NAME, launches.read(NAME).generation)
    Timer(0.5, os.kill, (first, 9)).start()
    if way == "open":
        launches.open(NAME, code(tmp_path))
    else:
        launches.reopen(NAME)
    assert launches.is_alive(NAME)
    assert pid_in(launches.lock(NAME)) != first
    assert launches.unfinished() == [NAME]


@pytest.mark.usefixtures("python")
def test_stopping_ends_all_workers_and_keeps_their_launches(tmp_path: Path, launches: Launches) -> None:
    for name in (NAME, "closed", "dead"):
        launches.open(name, code(tmp_path))
    launches.close("closed", 0)
    os.kill(pid_in(launches.lock("dead")), 9)
    assert wait_until_free(launches.lock("dead"), PATIENCE_S)
    assert launches.stop() == ["closed", NAME]
    assert not any(launches.is_alive(name) for name in (NAME, "closed", "dead"))
    assert launches.unfinished() == ["dead", NAME]
    assert launches.stop() == []


def test_a_worker_that_nobody_launched_is_known_while_it_works(launches: Launches) -> None:
    name = f"process {os.getpid()}"
    with launches.present():
        assert launches.is_alive(name)
        assert pid_in(launches.lock(name)) == os.getpid()
        assert launches.unfinished() == []
    assert not launches.lock(name).exists()


@pytest.mark.parametrize("broken", ["interpreter", "folder"])
def test_a_worker_that_cannot_start_leaves_word(
    tmp_path: Path, launches: Launches, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    gone = tmp_path / "gone"
    if broken == "interpreter":
        monkeypatch.setattr(sys, "executable", str(gone / "python"))
    launches.open(NAME, code(gone if broken == "folder" else tmp_path))
    assert wait_until_free(launches.lock(NAME), PATIENCE_S)
    failure = launches.failure(NAME)
    assert failure.startswith(f"the worker of {NAME} dies while it starts; its log ")
    assert str(gone) in failure
    launches.revive()  # tries it again, and fails no other command


@pytest.mark.usefixtures("python")
def test_a_worker_that_has_started_is_no_failure(tmp_path: Path, launches: Launches) -> None:
    assert launches.failure(NAME) == ""
    launches.open(NAME, code(tmp_path))
    pid = pid_in(launches.lock(NAME))
    assert launches.failure(NAME) == ""
    launches.sign(NAME)
    launches.stop()
    assert launches.failure(NAME) == ""
    launches.spawn(NAME)  # what it said is not said by the next one
    assert pid_in(launches.lock(NAME)) != pid
    launches.stop()
    assert launches.failure(NAME) != ""


def test_a_launch_that_is_missing_or_damaged_does_not_keep_others_from_working(
    tmp_path: Path, launches: Launches
) -> None:
    launches.reopen(NAME)
    assert launches.find(NAME) is None
    folder = tmp_path / "store" / "launches"
    (folder / f"{NAME}.json").write_text("{", "utf-8")
    assert launches.unfinished() == []
    with pytest.raises(ServerError, match=f"nothing tells how the worker of {NAME} is started"):
        launches.read(NAME)


@pytest.mark.usefixtures("python")
def test_nobody_else_may_read_a_launch(
    tmp_path: Path, launches: Launches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_API_KEY", "secret")
    launches.open(NAME, code(tmp_path))
    [file] = (tmp_path / "store" / "launches").glob("*.json")
    assert "secret" in file.read_text("utf-8")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_two_names_never_share_a_file(launches: Launches) -> None:
    names = ["a", "a.b", "a.json", "a/b", "a b", "a%2Fb", "..", "A"]
    assert len({launches.lock(name) for name in names}) == len(names)
    descriptor = held(launches.lock("a/b"))
    assert descriptor is not None
    assert [name for name in names if launches.is_alive(name)] == ["a/b"]
    os.close(descriptor)
