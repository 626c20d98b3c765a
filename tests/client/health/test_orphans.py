"""What has lost what it belongs to: launches, workers, records and workflows."""

import asyncio
import os
import shutil
import signal
from functools import partial
from pathlib import Path

import pytest
from temporalio.worker import Worker

from metta.sweep.client.attaching import handle_of
from metta.sweep.client.connection import connect
from metta.sweep.client.health.examination import examined
from metta.sweep.client.launches import Launch, Launches
from metta.sweep.client.server import EmbeddedServer
from metta.sweep.client.settings import Settings
from metta.sweep.stores.files import FileStore
from tests.client.gathered import halving
from tests.client.health.looks import codes, impatient, lead, look, of
from tests.rig import OBJECTIVES, Rig, code_in, definition, pid_in, standing, until

NAME = "orphaned"


@pytest.fixture
async def here(project: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    """The project with its server; nothing is given time."""
    (project / "objectives.py").write_text(OBJECTIVES, "utf-8")
    impatient(monkeypatch)
    settings = Settings.load()
    return Rig(await connect(settings), NAME, project, FileStore(settings.home))


async def test_a_launch_without_a_workflow_is_told_and_closed_when_that_is_wanted(here: Rig) -> None:
    launches = Launches(here.store.root)
    (here.store.root / "launches").mkdir()
    launch = Launch(queue=NAME, code=code_in(here.folder), opened_at=1.0)
    (here.store.root / f"launches/{NAME}.json").write_text(launch.model_dump_json(), "utf-8")
    [idle] = await look("launch-idle", NAME)
    assert (idle.severity, idle.command) == ("problem", "sweep doctor --fix")
    assert launches.unfinished() == [NAME]
    [mended] = await look("launch-idle", NAME, fix=True)
    assert mended.fixed == "closed the launch"
    assert launches.unfinished() == []
    assert codes(await examined()) == set()


async def test_a_launch_that_cannot_be_read_is_named(here: Rig) -> None:
    (here.store.root / "launches").mkdir()
    file = here.store.root / f"launches/{NAME}.json"
    file.write_text("{", "utf-8")
    [damaged] = await look("launch-damaged", str(file))
    assert damaged.command == f"rm {file}"


async def test_a_worker_without_work_that_hangs_is_told_and_ended_when_that_is_wanted(
    here: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metta.sweep.client.health.orphans.LEAVING_S", 0.5)
    monkeypatch.setattr("metta.sweep.client.launches.STOP_S", 0.5)
    launches = Launches(here.store.root)
    await asyncio.to_thread(launches.open, NAME, code_in(here.folder))
    await until(lambda: "serving" in launches.lock(NAME).read_text("utf-8"))
    pid = pid_in(launches.lock(NAME))
    os.kill(pid, signal.SIGSTOP)
    launches.close(NAME, 0)
    [idle] = await look("worker-idle", NAME)
    assert f"(process {pid})" in idle.text
    assert launches.is_alive(NAME), "it only looks"
    [mended] = await look("worker-idle", NAME, fix=True)
    assert mended.fixed == "ended it"
    assert not launches.is_alive(NAME)


async def test_a_worker_with_work_is_left_alone(here: Rig) -> None:
    launches = Launches(here.store.root)
    await asyncio.to_thread(launches.open, NAME, code_in(here.folder))
    handle = await here.start(definition("gated", budget=1), NAME)
    await until(lambda: here.table(NAME).records)
    before = pid_in(launches.lock(NAME))
    assert codes(await examined(fix=True)) == set()
    assert pid_in(launches.lock(NAME)) == before
    here.open_gate()
    await handle.result()


async def test_a_sweep_whose_server_lost_everything_is_told_and_the_command_that_is_told_continues_it(
    here: Rig,
) -> None:
    launches = Launches(here.store.root)
    await asyncio.to_thread(launches.open, NAME, code_in(here.folder))
    await here.start(definition("gated", budget=2), NAME)
    await until(lambda: here.table(NAME).records and here.table(NAME).records[0].step)
    os.kill(pid_in(launches.lock(NAME)), signal.SIGKILL)
    await asyncio.to_thread(EmbeddedServer(here.store.root / "server").stop)
    shutil.rmtree(here.store.root / "server")
    found = await examined(fix=True)
    [lost] = of(found, "record-open", NAME)
    assert lost.severity == "problem"
    assert lost.text == f"the sweep {NAME} has not ended, and Temporal knows no workflow for it"
    assert lost.command == f"sweep retry {NAME}"
    assert of(found, "launch-idle", NAME)[0].fixed
    here.open_gate()
    handle = await asyncio.to_thread(handle_of, NAME)
    await asyncio.to_thread(handle.retry)  # what the command does
    results = await asyncio.to_thread(handle.result)
    assert results.progress.counts.completed == 2
    assert codes(await examined()) == set()


async def test_a_sweep_that_was_terminated_is_a_warning_and_one_that_was_cancelled_is_none(here: Rig) -> None:
    launches = Launches(here.store.root)
    for name in ("cancelled", "terminated"):
        await asyncio.to_thread(launches.open, name, code_in(here.folder))
        handle = await here._replace(queue=name).start(definition("gated", budget=1), name)
        await until(partial(has_begun, here, name))
        await (handle.cancel() if name == "cancelled" else handle.terminate())
        await until(partial(is_gone, launches, name))
    [open_] = await look("record-open")
    assert (open_.subject, open_.severity) == ("terminated", "warning")
    assert open_.text.endswith("ended without recording it: its workflow is terminated")
    assert open_.command == "sweep retry terminated"


def has_begun(rig: Rig, name: str) -> bool:
    return bool(rig.table(name).records)


def is_gone(launches: Launches, name: str) -> bool:
    return not launches.is_alive(name)


async def test_without_a_server_nobody_is_asked_and_that_is_told(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient(monkeypatch)
    root = project / ".metta-sweep"
    halving(root, 3, NAME)
    ledger = FileStore(root).sweep_folder(NAME) / "ledger.jsonl"
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:2]))
    [open_] = await look("record-open", NAME)
    assert (open_.severity, open_.command) == ("warning", f"sweep show {NAME}")
    assert not (root / "server").exists()


async def test_a_workflow_of_another_store_is_told(
    project: Path, server: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient(monkeypatch)
    rig = await standing(server, tmp_path / "rig")
    lead(monkeypatch, server)
    handle = await rig.start(definition("gated", budget=1))
    assert of(await examined(), "workflow-foreign") == [], "it waits for a worker, and cannot be recorded"
    async with Worker(rig.client, task_queue=rig.queue):
        await until(lambda: rig.store.ledger(handle.id).exists())
    [foreign] = await look("workflow-foreign", handle.id)
    assert foreign.severity == "note", "others may use the server"
    assert foreign.command.startswith(f"temporal workflow describe --workflow-id {handle.id} --namespace ")
    await handle.terminate()
    monkeypatch.delenv("TEMPORAL_ADDRESS")


# --- settings that lead elsewhere than those of a launch ---


async def test_what_was_launched_for_another_server_is_left_alone_and_told_in_one_note(
    here: Rig, server: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    launches = Launches(here.store.root)
    await asyncio.to_thread(launches.open, NAME, code_in(here.folder))
    handle = await here.start(definition("gated", budget=1), NAME)
    await until(lambda: here.table(NAME).records)
    before = pid_in(launches.lock(NAME))
    lead(monkeypatch, server)
    first = await examined(fix=True)  # ended the worker
    found = await examined(fix=True)  # closed its launch
    assert [one.code for one in first + found if one.subject == NAME] == ["launch-elsewhere"] * 2
    [note] = of(found, "launch-elsewhere")
    assert (note.subject, note.severity, note.command) == (NAME, "note", "")
    assert f"{NAME} on the server {here.client.service_client.config.target_host}, " in note.text
    assert launches.is_alive(NAME)
    assert pid_in(launches.lock(NAME)) == before
    assert launches.unfinished() == [NAME]
    monkeypatch.delenv("TEMPORAL_ADDRESS")
    monkeypatch.delenv("TEMPORAL_NAMESPACE")
    assert of(await examined(), "launch-elsewhere") == []
    here.open_gate()
    await handle.result()


async def test_the_address_of_the_projects_own_server_leads_to_what_was_launched_without_it(
    here: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here.store.root / "launches").mkdir()
    launch = Launch(queue=NAME, code=code_in(here.folder), opened_at=1.0)
    (here.store.root / f"launches/{NAME}.json").write_text(launch.model_dump_json(), "utf-8")
    address = here.client.service_client.config.target_host
    lead(monkeypatch, Settings(here.folder, {"target_host": address, "namespace": here.client.namespace}))
    assert [idle.subject for idle in await look("launch-idle")] == [NAME]
    lead(monkeypatch, Settings(here.folder, {"target_host": address, "namespace": "default"}))
    assert [note.subject for note in await look("launch-elsewhere")] == [NAME]
    monkeypatch.delenv("TEMPORAL_ADDRESS")


async def test_a_stopped_server_is_not_started_for_what_was_launched_for_another_one(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = project / ".metta-sweep"
    impatient(monkeypatch)
    halving(root, 3, NAME)
    ledger = FileStore(root).sweep_folder(NAME) / "ledger.jsonl"
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:2]))
    (root / "launches").mkdir()
    launch = Launch(queue=NAME, code=code_in(project), environment={"TEMPORAL_ADDRESS": "lab:7233"})
    (root / f"launches/{NAME}.json").write_text(launch.model_dump_json(), "utf-8")
    found = await examined(fix=True)
    assert codes(found) == set()
    [note] = of(found, "launch-elsewhere", NAME)
    assert note.text.endswith(f"{NAME} on the server lab:7233, namespace default")
    assert not (root / "server").exists()
    launch = launch.model_copy(update={"environment": {}, "store": "s3://lab/sweeps"})
    (root / f"launches/{NAME}.json").write_text(launch.model_dump_json(), "utf-8")
    [note] = await look("launch-elsewhere", NAME)
    assert note.text.endswith("store s3://lab/sweeps")
