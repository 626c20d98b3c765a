"""Many trials at once whose messages are large: none of them holds up its sweep."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from metta.sweep.client.settings import Settings
from tests.rig import Rig, failure_of, until
from tests.workflows.faults import END_S, brisk, ended
from tests.workflows.jobs import job


@pytest.fixture
async def rig(server: Settings, tmp_path: Path) -> AsyncIterator[Rig]:
    async with brisk(server, tmp_path / "rig") as made:
        yield made


def gated(rig: Rig, name: str, **options: object) -> dict[str, object]:
    """An executor without processes, whose jobs end when the gate is open."""
    given = {"gate": str(rig.folder / "gate"), **options}
    return {"type": f"tests.workflows.faulty:{name}", "options": given}


async def test_many_trials_that_fail_at_once_with_long_tracebacks_do_not_hold_up_the_sweep(rig: Rig) -> None:
    executor = gated(rig, "Failing", max_parallel=40)
    handle = await rig.start(job("true", budget=40, max_failures=99, executor=executor))
    folder = rig.store.sweep_folder(handle.id) / "trials"
    await until(lambda: len(list(folder.rglob("reports.jsonl"))) == 40)
    await asyncio.sleep(1)
    rig.open_gate()
    async with asyncio.timeout(END_S):
        assert "all of the 40 finished trials failed" in (await failure_of(handle)).message
    table = rig.table(handle.id)
    assert table.counts.failed == 40
    for record in table.records:
        assert record.failure
        assert len(record.failure.traceback) <= 4096
        assert record.failure.traceback.endswith("\nlast")


PROMPT = {
    "x": {"type": "uniform", "low": 0, "high": 1},
    "prompt": {"type": "constant", "value": "a" * 45_000},
}
"""Sixty of these are more than one message may hold."""


async def test_many_trials_with_large_parameters_begin_at_once(rig: Rig) -> None:
    executor = {"type": "tests.workflows.no_process:NoProcess", "options": {"max_parallel": 60}}
    handle = await rig.start(job("true", budget=60, search_space=PROMPT, executor=executor))
    assert await ended(handle) == "budget"
    table = rig.table(handle.id)
    assert table.counts.completed == 60
    assert {record.attempt for record in table.records} == {1}


async def test_many_trials_with_large_parameters_are_taken_over_at_once(rig: Rig) -> None:
    sweep = job("true", budget=60, search_space=PROMPT, executor=gated(rig, "Gated", max_parallel=60))
    handle = await rig.start(sweep)
    folder = rig.store.sweep_folder(handle.id) / "trials"
    await until(lambda: len(list(folder.rglob("reports.jsonl"))) == 60)
    await handle.terminate()
    again = await rig.start({**sweep, "resume": True}, handle.id)
    rig.open_gate()
    assert await ended(again) == "budget"
    table = rig.table(handle.id)
    assert (table.counts.completed, table.epoch) == (60, 2)
    assert {record.attempt for record in table.records} == {1}
