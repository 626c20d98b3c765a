"""Pause, resume and concurrency of a running sweep, as any Temporal client sends them."""

import pytest
from temporalio.client import WorkflowUpdateFailedError

from metta.sweep.contracts.budgets import Control
from tests.rig import Rig, status_of, until


@pytest.mark.parametrize("how", [["now"], ["soon"], []], ids=["now", "soon", "nothing"])
async def test_a_paused_sweep_goes_on_when_it_is_resumed(rig: Rig, how: list[object]) -> None:
    handle = await rig.started(budget=2)
    await handle.execute_update("pause", args=how)
    await until(lambda: rig.table(handle.id).control.pause)
    assert (await status_of(handle)).state == "paused"
    if how != ["now"]:
        rig.open_gate()
        await until(lambda: not rig.table(handle.id).running)
    assert len(rig.table(handle.id).records) == 1
    await handle.execute_update("resume")
    rig.open_gate()
    result = await handle.result()
    assert result["progress"]["counts"]["completed"] == 2
    record = rig.table(handle.id).records[0]
    assert (record.attempt > 1) == (how == ["now"])
    assert record.failed == record.free == 0  # a pause is nobody's failure


async def test_the_concurrency_goes_down_and_up_while_it_runs(rig: Rig) -> None:
    handle = await rig.started(budget=6, executor={"type": "local", "max_parallel": 2})
    await until(lambda: len(rig.table(handle.id).running) == 2)
    await handle.execute_update("set_concurrency", 1)
    await until(lambda: rig.table(handle.id).control.concurrency == 1)
    control = await handle.execute_update("set_concurrency", None, result_type=Control)
    assert control.concurrency is None
    rig.open_gate()
    result = await handle.result()
    assert result["progress"]["counts"]["completed"] == 6


@pytest.mark.parametrize(
    ("update", "given", "message"),
    [
        ("set_concurrency", 0, "concurrency: input should be greater than or equal to 1, got 0"),
        ("set_concurrency", "two", "concurrency"),
        ("pause", "later", "pause: input should be 'soon' or 'now', got 'later'"),
    ],
)
async def test_wrong_controls_are_refused_at_once(rig: Rig, update: str, given: object, message: str) -> None:
    handle = await rig.started(budget=1)
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await handle.execute_update(update, given)
    assert message in str(caught.value.cause)
    rig.open_gate()
    await handle.result()
