"""An experiment and its runs: continued as new in loops and between parallel branches, replayed each time."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from metta.sweep.client.settings import Settings
from metta.sweep.contracts.outcomes import StageEnded
from metta.sweep.contracts.sweeps import SEARCH_ATTRIBUTES
from tests.rig import TEMPORAL, Rig, working
from tests.workflows.test_experiment import recorded, result_of, start

SOON = [
    *("--dynamic-config-value", "limit.historyCount.suggestContinueAsNew=60"),
    *(f"--search-attribute={name}={kind}" for name, kind in SEARCH_ATTRIBUTES.items()),
]
"""A server that soon suggests to continue as new."""


@pytest.fixture
async def soon(tmp_path: Path) -> AsyncIterator[Rig]:
    environment = await WorkflowEnvironment.start_local(
        dev_server_existing_path=TEMPORAL, dev_server_extra_args=SOON
    )
    async with environment:
        address = environment.client.service_client.config.target_host
        settings = Settings(tmp_path, {"target_host": address, "namespace": "default"})
        async with working(settings, tmp_path / "rig", max_cached_workflows=0) as rig:
            yield rig


@pytest.mark.parametrize(
    ("pipeline", "input", "stages"),
    [
        ("loop", {"total": -20}, 26),
        ("wide", {"x": 1}, 42),
        ("loops", None, 20),
    ],
)
async def test_history_begins_anew_and_no_stage_runs_twice(
    soon: Rig, pipeline: str, input: object, stages: int
) -> None:
    handle = await start(soon, pipeline, input)
    result = await result_of(handle)
    assert result.reason == "completed"
    ended = [str(entry.at) for entry in recorded(soon, handle, StageEnded)]
    assert len(ended) == len(set(ended)) == stages
    runs = [run async for run in soon.client.list_workflows(f"WorkflowId = '{handle.id}'")]
    assert len(runs) > 1
