"""Workflows that do not get on: their tasks fail again and again, or their activities do."""

import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from metta.sweep.client.health.examination import examined
from metta.sweep.client.health.findings import Finding
from metta.sweep.client.settings import Settings
from metta.sweep.workflows.sweep import Sweep
from tests.client.health.elsewhere import Another, OlderSweep, unwanted
from tests.client.health.looks import lead, look, of
from tests.rig import Handle, Rig, definition, standing, until


@pytest.fixture
async def rig(
    project: Path, server: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[Rig]:
    """A queue without any worker, on a server to which the environment leads."""
    made = await standing(server, tmp_path / "rig")
    lead(monkeypatch, server, made.store.root)
    yield made
    monkeypatch.delenv("TEMPORAL_ADDRESS")


async def plain(server: Settings) -> Client:
    """A client without the plugin."""
    return await Client.connect(
        str(server.connect["target_host"]),
        namespace=str(server.connect["namespace"]),
        data_converter=pydantic_data_converter,
        identity="somebody's worker",
    )


async def test_a_workflow_that_its_worker_does_not_know_is_told(rig: Rig, server: Settings) -> None:
    async with Worker(await plain(server), task_queue=rig.queue, workflows=[Another]):
        handle = await rig.start(definition(budget=1))
        await until(lambda: look("workflow-stuck", handle.id))
        [stuck] = await look("workflow-stuck", handle.id)
    assert "in somebody's worker: " in stuck.text
    assert "not registered" in stuck.text
    assert stuck.cure.startswith(f"a worker without MettaSweepPlugin takes the tasks of {rig.queue}")
    assert stuck.is_open
    await handle.terminate()


async def begun_by_another_version(rig: Rig, server: Settings, name: str) -> tuple[Handle, Finding]:
    """A sweep that ours cannot go on with, and what is told of it."""
    options = {"workflow_runner": UnsandboxedWorkflowRunner(), "max_cached_workflows": 0}
    async with Worker(await plain(server), task_queue=rig.queue, workflows=[OlderSweep], **options):  # type: ignore[arg-type]
        handle = await rig.start(definition(budget=1), name)
        await until(lambda: _has_timer(rig, handle.id))
    await handle.signal("set_budget", 2)  # or it would sleep for an hour
    async with Worker(rig.client, task_queue=rig.queue, max_cached_workflows=0):
        await until(lambda: look("workflow-stuck", handle.id))
        [stuck] = await look("workflow-stuck", handle.id)
    return handle, stuck


async def test_one_within_another_is_ended_alone_by_the_command_that_is_told(
    rig: Rig, server: Settings
) -> None:
    root = await rig._replace(queue=f"{rig.queue}-of-root").start(definition(budget=1))
    part, stuck = await begun_by_another_version(rig, server, f"{root.id}/part")
    assert f"end it alone, of which {root.id} is told" in stuck.cure
    words = shlex.split(stuck.command)[1:-2]  # the rig says which namespace
    assert (await rig.temporal(*words)).returncode == 0
    assert (await part.describe()).status is WorkflowExecutionStatus.TERMINATED
    assert (await root.describe()).status is WorkflowExecutionStatus.RUNNING
    await root.terminate()


async def test_a_workflow_that_another_version_began_is_told(rig: Rig, server: Settings) -> None:
    handle, stuck = await begun_by_another_version(rig, server, f"sweep-{uuid4()}")
    assert "its worker decides otherwise than the one that began it" in stuck.cure
    assert stuck.command.endswith(f"&& sweep retry {handle.id}")
    await handle.terminate()


async def _has_timer(rig: Rig, name: str) -> bool:
    history = await rig.client.get_workflow_handle(name).fetch_history()
    return sum(event.HasField("timer_started_event_attributes") for event in history.events) == 2


async def test_an_activity_that_fails_again_and_again_is_told_with_its_failure(
    rig: Rig, server: Settings
) -> None:
    client = await plain(server)
    runner = UnsandboxedWorkflowRunner()
    async with Worker(
        client, task_queue=rig.queue, workflows=[Sweep], activities=[unwanted], workflow_runner=runner
    ):
        handle = await rig.start(definition(budget=1))
        await until(lambda: look("activity-retried", handle.id))
        [retried] = await look("activity-retried", handle.id)
    assert "the activity run_search_session has failed " in retried.text
    assert "run_search_session for workflow" in retried.text
    assert "is not registered" in retried.text
    await handle.terminate()


async def test_an_activity_that_somebody_paused_is_told_with_what_lets_it_go_on(
    rig: Rig, server: Settings
) -> None:
    async with Worker(rig.client, task_queue=rig.queue):
        handle = await rig.started(budget=1)
        [pending] = (await handle.describe()).raw_description.pending_activities
        paused = ("activity", "pause", "--workflow-id", handle.id, "--activity-id", pending.activity_id)
        assert (await rig.temporal(*paused)).returncode == 0
        [told] = await look("activity-paused", handle.id)
        words = told.command.split()[1:-2]  # the rig says which namespace
        assert (await rig.temporal(*words)).returncode == 0
        await until(lambda: _is_unpaused(handle.id))
        rig.open_gate()
        await handle.result()


async def _is_unpaused(name: str) -> bool:
    return await look("activity-paused", name) == []


async def test_what_gets_on_is_not_told(rig: Rig) -> None:
    async with Worker(rig.client, task_queue=rig.queue):
        handle = await rig.started(budget=1)
        found = await examined()
        assert of(found, "workflow-stuck", handle.id) == of(found, "activity-retried", handle.id) == []
        rig.open_gate()
        await handle.result()
