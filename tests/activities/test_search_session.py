import asyncio
import os
import signal
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import WorkflowExecutionStatus

from metta.sweep.client.server import EmbeddedServer
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.events import Opened
from metta.sweep.workflows import policies
from tests.rig import Handle, Rig, definition, pid_in, runners_of, serving, status_of, until, working

HEARTBEAT_S = 3.0
BEAT = timedelta(seconds=1)


@pytest.fixture
async def quick(server: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    """A rig whose worker hears soon of what the server knows."""
    async with working(server, tmp_path / "rig", max_heartbeat_throttle_interval=BEAT) as rig:
        yield rig


def step_of(rig: Rig, handle: Handle) -> int:
    return rig.table(handle.id).records[0].step or 0


def kill_server(folder: Path) -> None:
    os.kill(pid_in(folder / "alive.lock"), signal.SIGKILL)


async def test_trials_go_on_while_the_server_is_away_for_longer_than_the_heartbeat_timeout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policies, "HEARTBEAT", timedelta(seconds=HEARTBEAT_S))
    with serving(tmp_path) as there:
        async with working(there, tmp_path / "rig") as rig:
            # one will be running when the server is back, the other will have ended meanwhile
            space = {
                "x": {"type": "uniform", "low": 0, "high": 1},
                "gate": {"type": "constant", "value": "other"},
            }
            ended, running = await rig.started(budget=2, search_space=space), await rig.started(budget=2)
            before = step_of(rig, running)
            kill_server(tmp_path / "server")
            rig.open_gate("other")
            await asyncio.sleep(HEARTBEAT_S + 1)
            await until(lambda: step_of(rig, running) > before + 10)
            await until(lambda: rig.table(ended.id).counts.completed == 2)
            await asyncio.to_thread(EmbeddedServer(tmp_path / "server").ensure)
            assert (await ended.result())["progress"]["counts"]["completed"] == 2
            await running.execute_update("set_budget", 1)
            # by the next attempt, or by this one if its heartbeat was faster than the server's timer
            await until(lambda: rig.table(running.id).control.version == 1)
            rig.open_gate()
            assert (await running.result())["progress"]["counts"]["completed"] == 1
            assert rig.table(running.id).epoch == 1  # nobody opened the sweep again
            for handle in (ended, running):
                assert all(record.attempt == 1 for record in rig.table(handle.id).records)


async def test_a_terminated_sweep_ends_its_session(quick: Rig) -> None:
    handle = await quick.started(budget=5)
    assert runners_of()
    await handle.terminate()
    await until(lambda: not runners_of())
    table = quick.table(handle.id)
    assert table.counts.running == 1  # nothing was recorded: the next one goes on from here
    assert table.finish is None
    again = await quick.start(definition("gated", budget=1, resume=True), handle.id)
    quick.open_gate()
    assert (await again.result())["progress"]["counts"]["completed"] == 1
    assert quick.table(handle.id).records[0].attempt == 2


async def test_an_activity_that_is_paused_stops_working_until_it_goes_on(quick: Rig) -> None:
    handle = await quick.started(budget=1)
    which = ("--workflow-id", handle.id, "--activity-id", "1")
    assert (await quick.temporal("activity", "pause", *which)).returncode == 0
    await until(lambda: not runners_of())
    await handle.signal("set_budget", 2)
    assert (await quick.temporal("activity", "unpause", *which)).returncode == 0
    quick.open_gate()
    assert (await handle.result())["progress"]["counts"]["completed"] == 2
    table = quick.table(handle.id)
    assert (table.epoch, table.records[0].attempt) == (2, 2)
    events = [event for chunk in quick.store.ledger(handle.id).read() for event in chunk.events]
    # the next attempt has begun with what was wanted by then, not with its input
    assert [e.control.version for e in events if isinstance(e, Opened)] == [0, 1]


async def test_an_activity_that_is_reset_goes_on_with_its_session(
    quick: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "metta.sweep.activities")
    handle = await quick.started(budget=1)
    which = ("--workflow-id", handle.id, "--activity-id", "1")
    assert (await quick.temporal("activity", "reset", *which)).returncode == 0
    await until(lambda: f"the server does not know the session of {handle.id} for now" in caplog.text)
    quick.open_gate()
    assert (await handle.result())["progress"]["counts"]["completed"] == 1
    assert quick.table(handle.id).epoch == 1


async def test_the_workflow_hears_how_far_the_session_is(rig: Rig) -> None:
    handle = await rig.started(budget=1)

    async def has_best() -> bool:
        return bool((await status_of(handle)).progress.best)

    await until(has_best)  # which takes until the second time it is told
    assert (await status_of(handle)).progress.counts.running == 1
    rig.open_gate()
    await handle.result()


async def test_two_sweeps_on_one_worker_do_not_wait_for_each_other(rig: Rig) -> None:
    first = await rig.started(budget=1)
    second = await rig.start(definition(budget=2))
    assert (await second.result())["progress"]["counts"]["completed"] == 2
    assert (await first.describe()).status is WorkflowExecutionStatus.RUNNING
    rig.open_gate()
    await first.result()
