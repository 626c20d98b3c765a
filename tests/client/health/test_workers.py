"""Workers that are missing, dead, dying, or of another version, seen by what Temporal knows of them."""

import asyncio
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.worker import Worker

from metta.sweep.client.connection import connect
from metta.sweep.client.detached import wait_until_free
from metta.sweep.client.health import workers
from metta.sweep.client.health.examination import examined
from metta.sweep.client.identities import Identity, version_here
from metta.sweep.client.launches import Launches
from metta.sweep.client.settings import Settings
from metta.sweep.stores.files import FileStore
from metta.sweep.worker import MettaSweepPlugin
from tests.client.health.looks import codes, impatient, lead, look, of
from tests.rig import OBJECTIVES, PATIENCE_S, Rig, code_in, definition, pid_in, standing, until
from tests.worker.processes import worker


@pytest.fixture
async def rig(
    project: Path, server: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[Rig]:
    """A queue without any worker, on a server to which the environment leads."""
    made = await standing(server, tmp_path / "rig")
    lead(monkeypatch, server, made.store.root)
    impatient(monkeypatch)
    yield made
    monkeypatch.delenv("TEMPORAL_ADDRESS")


@asynccontextmanager
async def serving(rig: Rig, server: Settings, version: str) -> AsyncIterator[Identity]:
    """A worker in this process that says that it is of some version."""
    identity = Identity(os.getpid(), socket.gethostname(), version)
    client = await Client.connect(
        str(server.connect["target_host"]),
        namespace=str(server.connect["namespace"]),
        plugins=[MettaSweepPlugin(rig.store.root, code_in(rig.folder), modules=["*"])],
        identity=str(identity),
    )
    async with Worker(client, task_queue=rig.queue):
        yield identity


@contextmanager
def running(command: str, folder: Path) -> Iterator[None]:
    """A command as it was told, in a terminal of which the environment is this one."""
    program, *words = shlex.split(command)
    assert program == "sweep"
    process = subprocess.Popen([str(Path(sys.executable).with_name("sweep")), *words], cwd=folder)
    try:
        yield
    finally:
        process.kill()
        process.wait()


async def test_a_queue_without_a_worker_is_told_and_the_command_that_is_told_serves_it(rig: Rig) -> None:
    handle = await rig.start(definition(budget=1))
    [unserved] = await look("queue-unserved", rig.queue)
    assert unserved.text.endswith(f"and so {handle.id} cannot go on")
    assert unserved.command == "", "nobody can tell which modules"
    told = unserved.cure.split("`")[1]
    assert told == f"sweep worker MODULES --queue {rig.queue} --store {rig.store.root}"
    with running(told.replace("MODULES", "objectives"), rig.folder):
        await handle.result()
    assert await look("queue-unserved", rig.queue) == []


async def test_where_settings_say_what_workers_take_the_command_that_is_told_serves_as_it_is(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METTA_SWEEP_MODULES", "objectives")
    handle = await rig.start(definition(budget=1))
    [unserved] = await look("queue-unserved", rig.queue)
    with running(unserved.command, rig.folder):
        await handle.result()


async def test_a_queue_of_trials_is_not_told_besides_the_one_whose_worker_serves_both(
    rig: Rig, server: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(rig, server, version_here()):  # which does not serve the queue of trials
        handle = await rig.start(definition(budget=1, executor={"type": "worker"}))
        await until(lambda: look("queue-unserved", f"{rig.queue}-trials"))
    monkeypatch.setattr(workers, "FRESH_S", 0.0)  # it does not ask any more
    told = [finding.subject for finding in await look("queue-unserved")]
    assert [queue for queue in told if queue.startswith(rig.queue)] == [rig.queue]
    await handle.terminate()


async def test_a_worker_of_another_version_beside_a_new_one_is_told(rig: Rig, server: Settings) -> None:
    async with serving(rig, server, "0.0.9"), serving(rig, server, version_here()):
        handle = await rig.started(budget=1)
        await until(lambda: look("version-mixed", rig.queue))
        [mixed] = await look("version-mixed", rig.queue)
        name = f"{os.getpid()}@{socket.gethostname()}"
        assert f"0.0.9 ({name}); {version_here()} ({name})" in mixed.text
        assert mixed.severity == "problem"
        assert mixed.command == f"kill {os.getpid()}"
        rig.open_gate()
        await handle.result()


async def test_a_worker_process_says_its_version_and_an_old_one_alone_is_a_warning(
    rig: Rig, server: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with worker(rig, server) as process:
        handle = await rig.started(budget=1)
        assert codes(await examined()).isdisjoint({"version-mixed", "version-other"})
        monkeypatch.setattr("metta.sweep.client.health.versions.version_here", lambda: "9.9")
        [other] = await look("version-other", rig.queue)
        assert f"{version_here()} ({process.pid}@{socket.gethostname()})" in other.text
        assert other.severity == "warning"
        rig.open_gate()
        await handle.result()


async def test_an_activity_that_is_for_others_and_has_none_is_told(rig: Rig, server: Settings) -> None:
    async with serving(rig, server, version_here()):  # which does not serve the queue of trials
        handle = await rig.start(definition(budget=1, executor={"type": "worker"}))
        await until(lambda: look("queue-unserved", f"{rig.queue}-trials"))
        [unserved] = await look("queue-unserved", f"{rig.queue}-trials")
        assert f"{handle.id} cannot go on" in unserved.text
        assert f"--queue {rig.queue} " in unserved.cure
        await handle.terminate()


# --- the project's own server and workers ---

NAME = "launched"


async def launched(project: Path, objective: str = "gated") -> tuple[Launches, Rig]:
    """A sweep with a detached worker."""
    (project / "objectives.py").write_text(OBJECTIVES, "utf-8")
    settings = Settings.load()
    rig = Rig(await connect(settings), NAME, project, FileStore(settings.home))
    launches = Launches(settings.home)
    await asyncio.to_thread(launches.open, NAME, code_in(project))
    await rig.start(definition(objective, budget=1), NAME)
    return launches, rig


async def test_a_worker_that_was_killed_is_told_at_once_and_started_when_that_is_wanted(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient(monkeypatch)
    launches, rig = await launched(project)
    await until(lambda: rig.table(NAME).records)
    assert codes(await examined()) == set()
    os.kill(pid_in(launches.lock(NAME)), signal.SIGKILL)
    await until(lambda: not launches.is_alive(NAME))
    found = await examined()
    assert [finding.subject for finding in of(found, "worker-dead")] == [NAME]
    assert of(found, "queue-unserved") == [], "it is told once"
    assert not launches.is_alive(NAME), "it only looks"
    [mended] = await look("worker-dead", NAME, fix=True)
    assert mended.fixed == f"started the worker of {NAME}"
    rig.open_gate()
    await rig.client.get_workflow_handle(NAME).result()


async def test_a_worker_whose_launch_was_closed_too_early_is_started(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient(monkeypatch)
    launches, rig = await launched(project)
    await until(lambda: rig.table(NAME).records)
    launches.close(NAME, 0)
    os.kill(pid_in(launches.lock(NAME)), signal.SIGKILL)
    await until(lambda: look("queue-unserved", NAME))
    [unserved] = await look("queue-unserved", NAME)
    assert unserved.command == "sweep doctor --fix"
    assert f"`sweep attach {NAME}`" in unserved.cure
    [mended] = await look("queue-unserved", NAME, fix=True)
    assert mended.fixed == f"started the worker of {NAME}"
    rig.open_gate()
    await rig.client.get_workflow_handle(NAME).result()


async def test_a_worker_that_dies_while_it_starts_is_told_with_its_log(project: Path) -> None:
    (project / "temporalio.py").write_text("raise ImportError('not the one you look for')", "utf-8")
    launches, rig = await launched(project)
    assert await asyncio.to_thread(wait_until_free, launches.lock(NAME), PATIENCE_S)
    await until(lambda: launches.failure(NAME))
    [dies] = await look("worker-dies", NAME)
    assert "ImportError: not the one you look for" in dies.text
    assert dies.command == f"tail -n 50 {launches.lock(NAME).with_suffix('.log')}"
    (project / "temporalio.py").unlink()
    await look("worker-dies", NAME, fix=True)
    rig.open_gate()
    await rig.client.get_workflow_handle(NAME).result()
