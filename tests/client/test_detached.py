import os
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import psutil
import pytest

from metta.sweep.client.detached import end, end_of, spawn_detached, wait_until_free
from metta.sweep.client.locks import held, is_held
from metta.sweep.contracts.errors import ServerError
from tests.rig import pid_in

GONE_S = 10.0
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("stubborn", flush=True)
time.sleep(60)
"""
PARENT = """
import sys
from pathlib import Path
from metta.sweep.client.detached import spawn_detached

spawn_detached(["sleep", "60"], Path("log"), Path("."), Path("lock"))
print("spawned", flush=True)
input()
"""


def spawn(folder: Path, *command: str) -> int:
    """A detached process; its pid."""
    assert spawn_detached(command, folder / "log", folder, folder / "lock")
    return pid_in(folder / "lock")


def is_gone(pid: int) -> bool:
    """Whether a process is gone, after a while to be buried."""
    deadline = monotonic() + GONE_S
    while psutil.pid_exists(pid) and monotonic() < deadline:
        sleep(0.01)
    return not psutil.pid_exists(pid)


def test_a_detached_process_is_nobodys_child_and_holds_its_lock(tmp_path: Path) -> None:
    pid = spawn(tmp_path, "sleep", "60")
    process = psutil.Process(pid)
    assert process.ppid() != os.getpid()
    assert os.getsid(pid) != os.getsid(0)
    assert Path(process.cwd()) == tmp_path
    assert is_held(tmp_path / "lock")
    assert not spawn_detached(["sleep", "60"], tmp_path / "log", tmp_path, tmp_path / "lock")
    assert pid_in(tmp_path / "lock") == pid
    end(tmp_path / "lock", GONE_S, "it")
    assert is_gone(pid)


def test_it_outlives_the_program_that_started_it(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert parent.stdout
    assert parent.stdout.readline() == b"spawned\n"
    os.killpg(parent.pid, signal.SIGKILL)  # as when a terminal is closed
    parent.communicate()
    assert is_held(tmp_path / "lock")
    end(tmp_path / "lock", GONE_S, "it")


def test_its_output_and_what_keeps_it_from_starting_stand_in_its_log(tmp_path: Path) -> None:
    for command, folder in [
        (["echo", "hello"], tmp_path),
        (["/no/such/program"], tmp_path),
        (["true"], tmp_path / "gone"),
    ]:
        assert spawn_detached(command, tmp_path / "log", folder, tmp_path / "lock")
        assert wait_until_free(tmp_path / "lock", GONE_S)
    log = (tmp_path / "log").read_text("utf-8")
    assert "hello" in log
    assert "/no/such/program" in log
    assert str(tmp_path / "gone") in log


def test_arguments_and_environment_arrive_as_they_are(tmp_path: Path) -> None:
    told = "two words; $HOME `id` 'quoted'"
    code = "import os, sys; print(sys.argv[1], os.environ['TOLD'], len(os.environ))"
    command = [sys.executable, "-c", code, told]
    spawn_detached(command, tmp_path / "log", tmp_path, tmp_path / "lock", {"TOLD": told})
    assert wait_until_free(tmp_path / "lock", GONE_S)
    assert f"{told} {told}" in (tmp_path / "log").read_text("utf-8")


def test_a_process_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    pid = spawn(tmp_path, sys.executable, "-c", STUBBORN)
    deadline = monotonic() + GONE_S
    while "stubborn" not in (tmp_path / "log").read_text("utf-8"):
        assert monotonic() < deadline
        sleep(0.01)
    end(tmp_path / "lock", 0.5, "it")
    assert not is_held(tmp_path / "lock")
    assert is_gone(pid)


@pytest.mark.parametrize("says", ["{pid}", "", "nonsense"])
def test_nobody_is_ended_without_his_lock(tmp_path: Path, says: str) -> None:
    """A pid outlives its process, and may be somebody else's by now."""
    with subprocess.Popen(["sleep", "60"]) as innocent:
        (tmp_path / "lock").write_text(says.format(pid=innocent.pid), "utf-8")
        end(tmp_path / "lock", GONE_S, "it")
        assert innocent.poll() is None
        innocent.kill()


def test_who_holds_a_lock_without_saying_who_he_is_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metta.sweep.client.detached.PID_S", 0.1)
    descriptor = held(tmp_path / "lock")
    assert descriptor is not None
    with pytest.raises(ServerError, match="it cannot be ended: some process holds"):
        end(tmp_path / "lock", 0.1, "it")
    os.close(descriptor)


def test_the_end_of_a_log_begins_where_the_process_began(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("of before\n" + "x" * 5000 + "\nthe last words\n", "utf-8")
    assert end_of(log, 10).startswith(f"its log {log} ends with:\nx")
    assert end_of(log, 0).endswith("the last words")
    assert len(end_of(log, 0)) < 2500
    assert end_of(tmp_path / "none", 0) == f"its log {tmp_path / 'none'} ends with:"
