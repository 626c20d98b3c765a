"""The worker of a launch: it lives as long as its sweep, and brings back its server."""

import asyncio
import os
import shutil
import signal
from pathlib import Path
from time import time

import psutil
import pytest

from metta.sweep.client.connection import connect
from metta.sweep.client.launches import Launch, Launches
from metta.sweep.client.locks import is_held
from metta.sweep.client.server import EmbeddedServer
from metta.sweep.client.settings import Settings
from metta.sweep.stores.files import FileStore
from metta.sweep.worker.main import LOOK_S, UNBORN_S
from tests.rig import OBJECTIVES, Handle, Rig, code_in, definition, pid_in, until

NAME = "launched"


@pytest.fixture
async def here(project: Path) -> Rig:
    """The project in which the test stands, with its server, as a rig without a worker."""
    (project / "objectives.py").write_text(OBJECTIVES, "utf-8")
    settings = Settings.load()
    return Rig(await connect(settings), NAME, project, FileStore(settings.home))


@pytest.fixture
def launches(here: Rig) -> Launches:
    return Launches(here.store.root)


@pytest.fixture
def server(here: Rig) -> EmbeddedServer:
    return EmbeddedServer(here.store.root / "server")


async def launch(rig: Rig, launches: Launches, objective: str = "train", **changes: object) -> Handle:
    await asyncio.to_thread(launches.open, NAME, code_in(rig.folder))
    return await rig.start(definition(objective, **changes), NAME)


def log_of(rig: Rig) -> str:
    return (rig.store.root / "launches" / f"{NAME}.log").read_text("utf-8")


async def test_it_ends_when_its_sweep_is_over(here: Rig, launches: Launches) -> None:
    handle = await launch(here, launches, budget=2)
    assert (await handle.result())["progress"]["counts"]["completed"] == 2
    await until(lambda: not launches.is_alive(NAME))
    assert launches.read(NAME).closed
    assert launches.failure(NAME) == ""
    assert "serving the task queue" in log_of(here)
    assert "Traceback" not in log_of(here)


async def test_a_sweep_that_goes_on_the_moment_it_is_over_has_a_worker(here: Rig, launches: Launches) -> None:
    for budget in (1, 2, 3):
        handle = await launch(here, launches, budget=budget, resume=True)
        assert (await handle.result())["progress"]["counts"]["completed"] == budget
        if budget == 2:  # its worker has seen that and is on its way out, or gone
            await until(lambda: launches.read(NAME).closed)


async def test_it_waits_for_a_sweep_that_is_launched_again_but_not_started_yet(
    here: Rig, launches: Launches
) -> None:
    await (await launch(here, launches, budget=1)).result()
    await asyncio.to_thread(launches.open, NAME, code_in(here.folder))
    await asyncio.sleep(3 * LOOK_S)
    assert launches.is_alive(NAME)
    assert not launches.read(NAME).closed
    again = await here.start(definition(budget=2, resume=True), NAME)
    assert (await again.result())["progress"]["counts"]["completed"] == 2


async def test_it_gives_up_a_sweep_that_was_never_started(here: Rig, launches: Launches) -> None:
    old = Launch(queue=NAME, code=code_in(here.folder), opened_at=time() - UNBORN_S - 1)
    (here.store.root / "launches").mkdir()
    (here.store.root / "launches" / f"{NAME}.json").write_text(old.model_dump_json(), "utf-8")
    launches.revive()
    await until(lambda: launches.read(NAME).closed)
    await until(lambda: not launches.is_alive(NAME))


async def test_it_brings_back_its_server_on_the_same_ports(
    here: Rig, launches: Launches, server: EmbeddedServer
) -> None:
    before = server.find()
    handle = await launch(here, launches, "gated", budget=1)
    await until(lambda: here.table(NAME).records)
    os.kill(pid_in(here.store.root / "server/alive.lock"), signal.SIGKILL)
    await until(lambda: server.find() == before and before)
    here.open_gate()
    assert (await handle.result())["progress"]["counts"]["completed"] == 1
    assert here.table(NAME).epoch == 1


async def serving(rig: Rig, launches: Launches) -> int:
    """A worker that waits for its sweep to be started."""
    await asyncio.to_thread(launches.open, NAME, code_in(rig.folder))
    await until(lambda: "serving" in launches.lock(NAME).read_text("utf-8"))
    return pid_in(launches.lock(NAME))


async def test_it_leaves_the_sweep_to_the_next_worker_when_the_server_has_other_ports(
    here: Rig, launches: Launches, server: EmbeddedServer
) -> None:
    worker = await serving(here, launches)
    os.kill(worker, signal.SIGSTOP)
    os.kill(pid_in(here.store.root / "server/alive.lock"), signal.SIGKILL)
    (here.store.root / "server/server.json").unlink()
    await until(lambda: not is_held(here.store.root / "server/alive.lock"))
    await asyncio.to_thread(server.ensure)
    os.kill(worker, signal.SIGCONT)
    await until(lambda: not launches.is_alive(NAME))
    assert "the server is now at" in log_of(here)
    assert launches.unfinished() == [NAME]


async def test_nothing_is_left_when_somebody_deletes_the_store(here: Rig, launches: Launches) -> None:
    locks = ("server/alive.lock", "server/minder.lock")
    processes = [await serving(here, launches), *(pid_in(here.store.root / lock) for lock in locks)]
    assert all(psutil.pid_exists(pid) for pid in processes)
    shutil.rmtree(here.store.root)
    await until(lambda: not any(psutil.pid_exists(pid) for pid in processes))
