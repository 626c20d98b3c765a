"""A sweep and its runs: cancelled, reset, failed, tried again, continued as new."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import CancelledError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from metta.sweep.client.settings import Settings
from metta.sweep.contracts.budgets import Control
from metta.sweep.contracts.sweeps import SEARCH_ATTRIBUTES
from tests.rig import (
    TEMPORAL,
    Handle,
    Rig,
    definition,
    failure_of,
    runners_of,
    standing,
    status_of,
    until,
    working,
)

SOON = [
    *("--dynamic-config-value", "limit.historyCount.suggestContinueAsNew=30"),
    *(f"--search-attribute={name}={kind}" for name, kind in SEARCH_ATTRIBUTES.items()),
]
"""A server that soon suggests to continue as new."""


async def test_a_cancelled_sweep_stops_its_trials_and_says_so(server: Settings, tmp_path: Path) -> None:
    async with working(server, tmp_path / "rig", max_heartbeat_throttle_interval=timedelta(seconds=1)) as rig:
        handle = await rig.started(budget=5)
        await handle.cancel()
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
        assert isinstance(caught.value.cause, CancelledError)
        table = rig.table(handle.id)
        assert (table.counts.started, table.counts.stopped) == (1, 1)
        assert table.finish
        status = await status_of(handle)
        assert status.state == "cancelled"
        assert status.progress.counts.stopped == 1


async def test_a_sweep_that_is_cancelled_before_it_has_a_worker_never_begins(
    server: Settings, tmp_path: Path
) -> None:
    rig = await standing(server, tmp_path / "rig")
    handle = await rig.start(definition())
    await handle.cancel()
    async with Worker(rig.client, task_queue=rig.queue):
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
        assert isinstance(caught.value.cause, CancelledError)
        assert (await status_of(handle)).state == "cancelled"
    assert not rig.store.ledger(handle.id).exists()


async def reset(rig: Rig, handle: Handle, task: int = 0) -> Handle:
    """Go back to an early task, the first one of which begins the session; forget what was said since."""
    tasks = [
        event.event_id
        for event in (await handle.fetch_history()).events
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    ]
    how = ("--event-id", str(tasks[task]), "--reapply-exclude", "All", "--reason", "to try it again")
    await rig.workflow(handle.id, "reset", *how)
    return rig.client.get_workflow_handle(handle.id)


async def test_a_reset_sweep_keeps_what_is_recorded(rig: Rig) -> None:
    handle = await rig.start(definition(budget=2))
    result = await handle.result()
    again = await (await reset(rig, handle)).result()
    assert again["progress"]["best"] == result["progress"]["best"]
    assert rig.table(handle.id).counts.started == 2
    assert rig.table(handle.id).epoch == 2


@pytest.mark.parametrize("task", [0, 1])
async def test_a_sweep_that_is_reset_while_it_runs_listens_to_the_new_run(
    server: Settings, tmp_path: Path, task: int
) -> None:
    async with working(server, tmp_path / "rig", max_heartbeat_throttle_interval=timedelta(seconds=1)) as rig:
        handle = await rig.started(budget=1)
        for trials in (7, 8, 9):
            await handle.execute_update("set_budget", trials)
        await until(lambda: rig.table(handle.id).control.version == 3)
        new = await reset(rig, handle, task)
        await until(lambda: rig.table(handle.id).epoch == 2)
        await new.execute_update("set_budget", 2)
        await until(lambda: rig.table(handle.id).control.budget.trials == 2)
        which = ("--workflow-id", handle.id, "--activity-id", "1")
        await rig.temporal("activity", "pause", *which)
        await until(lambda: not runners_of())
        await rig.temporal("activity", "unpause", *which)  # another attempt, with the same input
        rig.open_gate()
        assert (await new.result())["progress"]["counts"]["completed"] == 2


async def test_the_users_mistakes_end_a_sweep(rig: Rig) -> None:
    cases: list[tuple[dict[str, object], str, str]] = [
        (definition("nothing"), "DefinitionError", "there is no 'nothing' in"),
        (definition("elsewhere:train"), "DefinitionError", "No module named 'elsewhere'"),
        (
            definition(optimizer="randon"),
            "DefinitionError",
            "unknown optimizer 'randon'; did you mean random?",
        ),
        (definition("wrong", max_failures=2, budget=3), "SweepFailed", "ValueError: no luck today"),
    ]
    for wrong, kind, message in cases:
        error = await failure_of(await rig.start(wrong))
        assert (error.type, error.non_retryable) == (kind, True)
        assert message in error.message


async def test_a_name_in_use_a_changed_definition_and_a_damaged_ledger_end_a_sweep(rig: Rig) -> None:
    first = await rig.start(definition(budget=1))
    await first.result()
    error = await failure_of(await rig.start(definition(budget=1), first.id))
    assert error.type == "NameInUse"
    assert f"the name {first.id!r} is in use" in error.message
    error = await failure_of(await rig.start(definition(seed=2, resume=True), first.id))
    assert error.type == "DefinitionChanged"
    assert "seed was 1 and is now 2" in error.message
    ledger = rig.store.sweep_folder(first.id) / "ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes().replace(b'"accuracy"', b'"accurasy"', 1))
    error = await failure_of(await rig.start(definition(budget=2, resume=True), first.id))
    assert error.type == "LedgerCorrupt"
    assert "its checksum does not match" in error.message
    assert error.non_retryable


async def test_what_another_try_can_mend_is_tried_again(rig: Rig) -> None:
    rig.store.prepare()
    obstacle = rig.store.root / "sweeps"
    obstacle.write_text("in the way", "utf-8")
    handle = await rig.start(definition(budget=1))

    async def has_failed() -> bool:
        pending = (await handle.describe()).raw_description.pending_activities
        return bool(pending and pending[0].HasField("last_failure"))

    await until(has_failed)
    obstacle.unlink()
    assert (await handle.result())["progress"]["counts"]["completed"] == 1


async def test_a_sweep_goes_on_as_a_new_run_before_its_history_is_too_long(tmp_path: Path) -> None:
    async with (
        await WorkflowEnvironment.start_local(
            dev_server_existing_path=TEMPORAL, dev_server_extra_args=SOON
        ) as environment,
        working(
            Settings(
                tmp_path,
                {"target_host": environment.client.service_client.config.target_host, "namespace": "default"},
            ),
            tmp_path / "rig",
        ) as rig,
    ):
        handle = await rig.started(budget=1)
        for trials in range(2, 12):
            await handle.signal("set_budget", trials)
        new = rig.client.get_workflow_handle(handle.id)

        async def is_time() -> bool:
            control = await new.query("control", result_type=Control)
            return bool(control.handover)

        await until(is_time)
        rig.open_gate()
        for _ in range(20):  # whatever run they meet, they are accepted
            await new.execute_update("set_budget", {"trials": 1_000_000})
        await until(lambda: rig.table(handle.id).epoch > 1)
        await new.execute_update("set_budget", 4)
        result = await new.result()
        table = rig.table(handle.id)
        assert result["progress"]["counts"]["completed"] == table.counts.started >= 4
        assert all(record.attempt == 1 for record in table.records)
        old = rig.client.get_workflow_handle(handle.id, run_id=handle.first_execution_run_id)
        first, last = (await old.fetch_history()).events[-1], (await new.fetch_history()).events[0]
        assert first.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW
        given = json.loads(last.workflow_execution_started_event_attributes.input.payloads[0].data)
        assert given["progress"]["counts"]["started"] >= 1
        assert given["control"]["version"] >= 10
