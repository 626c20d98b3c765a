"""Long loops and wide branches stay inside the limits of the engine."""

import os

import pytest

from metta.sweep.contracts.outcomes import StageEnded
from tests.rig import Handle, Rig
from tests.workflows.pipelines import BRANCHES, LARGE
from tests.workflows.test_experiment import recorded, result_of, start

TURNS = int(os.environ.get("METTA_SWEEP_TEST_TURNS", "3000"))
"""Turns of the long loop: more of them in `make soak`."""

EVENTS, HISTORY_BYTES, PAYLOAD_BYTES = 10_000, 10_000_000, 1_000_000
"""Far below what the engine refuses: 51,200 events, 50 MB, and 2 MB."""


async def sizes(rig: Rig, handle: Handle) -> list[tuple[int, int, int]]:
    """Events, bytes, and the longest event in bytes, of each run."""
    found = []
    async for run in rig.client.list_workflows(f"WorkflowId = '{handle.id}'"):
        history = await rig.client.get_workflow_handle(run.id, run_id=run.run_id).fetch_history()
        lengths = [event.ByteSize() for event in history.events]
        found.append((len(lengths), sum(lengths), max(lengths)))
    return found


async def check(rig: Rig, handle: Handle) -> int:
    found = await sizes(rig, handle)
    assert all(e < EVENTS and h < HISTORY_BYTES and p < PAYLOAD_BYTES for e, h, p in found), found
    return len(found)


@pytest.mark.timeout(120 + TURNS * 0.3)
async def test_a_long_loop_begins_its_history_anew(rig: Rig) -> None:
    handle = await start(rig, "endless", {"total": 0, "end": TURNS})
    result = await result_of(handle)
    assert result.value.packed == {"$record": {"total": TURNS, "end": TURNS}}
    assert len(recorded(rig, handle, StageEnded)) == TURNS + 1
    assert await check(rig, handle) > 1


@pytest.mark.timeout(600)
async def test_many_branches_carry_what_flows_into_them(rig: Rig) -> None:
    handle = await start(rig, "wider", {"x": 1, "text": "x" * 3000})
    result = await result_of(handle)
    assert result.value.packed == sum(range(BRANCHES))
    await check(rig, handle)


async def test_an_array_of_200_mb_passes_from_stage_to_stage(rig: Rig) -> None:
    handle = await start(rig, "arrays")
    result = await result_of(handle)
    assert result.value.packed == LARGE - 1
    await check(rig, handle)
