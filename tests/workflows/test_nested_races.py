"""What happens to nested runs and their budgets at the very moments at which something else happens."""

import asyncio
from collections import Counter
from pathlib import Path
from time import monotonic, sleep

import pytest

from metta.sweep.client.settings import Settings
from metta.sweep.contracts.budgets import Spent
from metta.sweep.stages import host
from metta.sweep.stores.spending import Spending
from metta.sweep.worker.main import BEAT
from tests.rig import Handle, Rig, failure_of, status_of, until, working
from tests.workflows.test_nested_budgets import rig as rig
from tests.workflows.test_nested_budgets import start, value_of


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> "pytest.MonkeyPatch":
    """Counting takes a while, as with large ledgers."""
    slowed(monkeypatch, 1.0)
    return monkeypatch


def slowed(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    counted = Spending.by

    def by(self: Spending, name: str) -> Spent:
        sleep(seconds)
        return counted(self, name)

    monkeypatch.setattr(Spending, "by", by)


async def failures(handle: Handle) -> Counter[str]:
    """Workflow tasks that have failed, by their messages."""
    found = Counter[str]()
    async for event in handle.fetch_history_events():
        if event.HasField("workflow_task_failed_event_attributes"):
            found[event.workflow_task_failed_event_attributes.failure.message] += 1
    return found


async def within(rig: Rig, handle: Handle) -> str:
    """The first sweep within an experiment, once it has begun."""
    await until(lambda: [name for name in rig.store.names() if name.startswith(f"{handle.id}/")])
    return next(name for name in rig.store.names() if name.startswith(f"{handle.id}/"))


async def test_a_budget_comes_while_another_sweep_begins(rig: Rig, slow: pytest.MonkeyPatch) -> None:
    handle = await start(rig, "Stepwise", {})
    await within(rig, handle)
    control = await handle.execute_update("set_budget", 9)
    assert control["budget"]["trials"] == 9
    failure = await failure_of(handle)  # the sixth sweep finds nothing left
    assert "nothing is left for go/s5" in failure.message
    slow.undo()
    assert Spending(rig.store).by(handle.id).trials == 9
    assert await failures(handle) == {}


async def test_one_that_is_just_ending_is_asked_for_again(rig: Rig, tmp_path: Path) -> None:
    handle = await start(rig, "Fickle", 10, folder=str(tmp_path))
    assert await value_of(rig, handle) == [6, 4]
    assert Spending(rig.store).by(handle.id).trials == 10


async def test_what_is_left_comes_back_although_the_stage_is_over(rig: Rig, slow: pytest.MonkeyPatch) -> None:
    handle = await start(rig, "Giving", 13)
    assert await value_of(rig, handle) == [1, 1, 1, 10]


async def test_of_two_experiments_at_once_the_second_waits_for_what_the_first_leaves(rig: Rig) -> None:
    handle = await start(rig, "Siblings", 10)
    assert await value_of(rig, handle) == [2, 2]


async def test_two_changes_at_once_both_hold(rig: Rig, slow: pytest.MonkeyPatch, tmp_path: Path) -> None:
    handle = await start(rig, "Gated", 50, folder=str(tmp_path))
    await within(rig, handle)
    changes = ({"epochs": 1000}, {"cost": 1000})
    await asyncio.gather(*(handle.execute_update("set_budget", change) for change in changes))
    budget = (await handle.query("status"))["control"]["budget"]
    assert (budget["trials"], budget["epochs"], budget["cost"]) == (50, 1000, 1000)
    await handle.cancel()


async def test_counting_may_take_longer_than_a_heartbeat(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    slowed(monkeypatch, 12.0)
    handle = await start(rig, "Stepwise", 5, times=1)
    assert await value_of(rig, handle) == 2


async def test_a_larger_budget_ends_nothing_earlier(rig: Rig) -> None:
    handle = await start(rig, "Unhurried", {"trials": 100, "seconds": 14})
    name = await within(rig, handle)
    began = monotonic()
    await asyncio.sleep(7)
    await handle.execute_update("set_budget", {"trials": 200})
    await handle.result()
    assert monotonic() - began > 11
    finish = rig.table(name).finish
    assert finish
    assert finish.reason == "time"


async def test_what_is_no_steering_changes_nothing(rig: Rig, tmp_path: Path) -> None:
    handle = await start(rig, "Gated", {}, folder=str(tmp_path))
    sweep = rig.client.get_workflow_handle(await within(rig, handle))
    for each in (handle, sweep):
        await each.signal("steer", "nonsense")
        await each.signal("steer")
    await handle.signal("unnest", 7)
    for number in range(1, 6):
        (tmp_path / f"open-{number}").touch()
    assert await value_of(rig, handle) == 6
    assert (await status_of(sweep)).state == "finished"
    assert await failures(handle) == await failures(sweep) == {}


async def test_depth_does_not_go_by_names(
    server: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "CROWD", 0)
    async with working(server, tmp_path / "rig", max_heartbeat_throttle_interval=BEAT) as made:
        assert await value_of(made, await start(made, "Named", {}, depth=8)) == 8


async def test_what_one_leaves_is_there_for_the_next_one(rig: Rig, slow: pytest.MonkeyPatch) -> None:
    handle = await start(rig, "Leaving", 13)
    assert await value_of(rig, handle) == [1, 12]
