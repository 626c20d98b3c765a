"""Claims: who is taken for the process that looks after a job, and who is not."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from time import time

import pytest

from metta.sweep.executors import claims
from metta.sweep.executors.claims import boot_id, holder, identity, is_own, lives, wake
from metta.sweep.executors.local import LocalExecutor, LocalRequest
from tests.executors.jobs import spec_of, until

ME = identity(os.getpid())


@pytest.fixture
def request_here(tmp_path: Path) -> LocalRequest:
    """What is asked for in a folder that somebody has claimed."""
    return LocalExecutor().build_request(spec_of(tmp_path, "true"))


def forge(folder: Path, **changes: object) -> None:
    (folder / "claim").mkdir()
    (folder / "claim" / "supervisor.json").write_text(json.dumps({**ME, **changes}))


def test_a_process_is_known_by_its_identity() -> None:
    assert lives(ME)
    assert ME["host"] == os.uname().nodename
    assert ME["boot_id"] == boot_id()


@pytest.mark.parametrize(
    "change",
    [{"start_time": 1}, {"boot_id": "another"}, {"pid": 2**22 + 1}, {"pid": None}, {"start_time": None}],
)
def test_no_other_process_is_taken_for_it(change: dict[str, object]) -> None:
    assert not lives({**ME, **change})


@pytest.mark.parametrize(
    ("change", "mine"),
    [
        ({}, True),
        ({"host": "renamed"}, True),
        ({"at": 0}, True),
        ({"pid": 1}, False),
        ({"start_time": 1}, False),
    ],
)
def test_a_claim_is_ones_own_whatever_the_machine_is_called(
    tmp_path: Path, change: dict[str, object], mine: bool
) -> None:
    forge(tmp_path, **change)
    assert is_own(str(tmp_path)) is mine


def test_a_claim_that_cannot_be_read_is_ones_own_and_one_that_is_gone_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_own(str(tmp_path))
    forge(tmp_path)
    monkeypatch.setattr(claims, "BOOT_ID", "/nowhere/boot_id")
    assert is_own(str(tmp_path))
    monkeypatch.undo()
    (tmp_path / "claim" / "supervisor.json").write_text("{")
    assert is_own(str(tmp_path))


def test_a_zombie_is_not_alive() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        known = identity(process.pid)
        assert lives(known)
        process.kill()
        until(lambda: not lives(known))  # although nobody has waited for it
        assert process.returncode is None


CLAIMANT = """
import sys
from pathlib import Path
from metta.sweep.executors.claims import claim

print("ready", flush=True)
while not Path("go").exists():
    pass
print(*(int(claim(str(number))) for number in range(20)))
"""


def test_of_many_who_claim_one_folder_at_once_one_gets_it(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / str(number)).mkdir()
    root = str(Path(__file__).parents[2])
    claimants = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIMANT],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": root},
            stdout=subprocess.PIPE,
        )
        for _ in range(4)
    ]
    for claimant in claimants:
        assert claimant.stdout
        assert claimant.stdout.readline() == b"ready\n"
    (tmp_path / "go").touch()
    claimed = [claimant.communicate()[0].split() for claimant in claimants]
    assert [sorted(tried) for tried in zip(*claimed, strict=True)] == [[b"0", b"0", b"0", b"1"]] * 20
    for number in range(20):
        left = (tmp_path / str(number)).iterdir()
        assert [path.name for path in left] == ["claim"], "no trace of the others"


def test_a_living_holder_that_has_not_begun_lets_the_job_wait(
    tmp_path: Path, request_here: LocalRequest
) -> None:
    forge(tmp_path)
    assert LocalExecutor().observe(request_here).status == "waiting"
    (tmp_path / "started.json").touch()
    assert LocalExecutor().observe(request_here).status == "running"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start_time": 1}, f"its supervisor (process {os.getpid()}) is gone, and has not written down"),
        ({"boot_id": "another"}, "the machine was started anew meanwhile"),
        ({"boot_id": "another", "host": "elsewhere"}, "its supervisor ran on elsewhere, and this is"),
    ],
    ids=["process", "boot", "host"],
)
def test_a_job_whose_holder_is_somebody_else_by_now_is_lost(
    change: dict[str, object], message: str, tmp_path: Path, request_here: LocalRequest
) -> None:
    forge(tmp_path, **change)
    (tmp_path / "started.json").touch()
    for _ in range(2):
        state = LocalExecutor().observe(request_here)
        assert state.end is not None
        assert (state.status, state.end.kind) == ("ended", "lost")
        assert message in state.end.message
        LocalExecutor().submit(request_here)  # nothing begins where something was lost


def test_an_end_that_was_written_down_holds_whoever_the_holder_is(
    tmp_path: Path, request_here: LocalRequest
) -> None:
    forge(tmp_path, boot_id="another")
    (tmp_path / "exit.json").write_text('{"code": 3, "seconds": 1.5, "at": 12.5, "later": null}')
    end = LocalExecutor().observe(request_here).end
    assert end is not None
    assert (end.code, end.kind, end.seconds) == (3, None, 1.5)


def test_an_end_that_cannot_be_read_is_no_end_that_is_known(
    tmp_path: Path, request_here: LocalRequest
) -> None:
    (tmp_path / "exit.json").write_text('{"code": ')
    end = LocalExecutor().observe(request_here).end
    assert end is not None
    assert end.kind == "lost"
    assert "exit.json does not say how the job ended" in end.message


@pytest.mark.parametrize("text", [None, "", "[]", "{"])
def test_a_claim_without_a_holder_is_lost_when_it_is_not_fresh(
    text: str | None, tmp_path: Path, request_here: LocalRequest
) -> None:
    (tmp_path / "claim").mkdir()
    if text is not None:
        (tmp_path / "claim" / "supervisor.json").write_text(text)
    assert LocalExecutor().observe(request_here).status == "waiting"
    os.utime(tmp_path / "claim", (time() - 60, time() - 60))
    end = LocalExecutor().observe(request_here).end
    assert end is not None
    assert (end.kind, end.message) == ("lost", "its supervisor is gone, and left no word of itself")


def test_whoever_has_a_supervisors_pid_by_now_is_not_woken() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        known = identity(process.pid)
        wake({**known, "start_time": 1})
        wake({**known, "boot_id": "another"})
        wake({})
        assert process.poll() is None
        wake(known)  # it does not expect the signal, and dies of it
        until(lambda: process.poll() is not None)
        wake(known)


def test_whoever_looks_after_a_job_is_woken_to_end_it(tmp_path: Path, request_here: LocalRequest) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        forge(tmp_path, **identity(process.pid))
        LocalExecutor().stop(request_here)
        until(lambda: process.poll() == -signal.SIGUSR1)
    assert (tmp_path / "stop").exists()


def test_what_nobody_has_claimed_has_no_holder(tmp_path: Path) -> None:
    assert holder(str(tmp_path)) == {}


def test_a_folder_that_cannot_be_looked_into_says_nothing_of_the_job(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    request = LocalExecutor().build_request(spec_of(tmp_path / "file" / ("x" * 300), "true"))
    with pytest.raises(OSError, match=r"File name too long|Not a directory"):
        LocalExecutor().observe(request)
