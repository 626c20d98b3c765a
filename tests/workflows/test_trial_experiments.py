"""Trials that are experiments, on a real server, with real stage processes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from metta.sweep.client.settings import Settings
from metta.sweep.contracts.attempts import Code
from tests.rig import Rig, definition, working
from tests.workflows.conftest import ROOT
from tests.workflows.test_job_lane import BEAT, notes


@pytest.fixture
async def trying(server: Settings, tmp_path: Path) -> AsyncIterator[Rig]:
    """A rig whose stage processes find the experiments, and whose worker soon hears of cancellations."""
    folder = tmp_path / "rig"
    code = Code(objective="", cwd=str(folder), path=(str(ROOT),))
    async with working(server, folder, code, max_heartbeat_throttle_interval=BEAT) as made:
        yield made


def tried(
    experiment: str = "Trained", /, fields: dict[str, object] | None = None, **changes: object
) -> dict[str, object]:
    """A sweep of an experiment, as people write it."""
    objective = {"experiment": f"tests.workflows.trials:{experiment}", "fields": fields or {}}
    return definition("a:b", **{"metric": "accuracy", **changes}) | {"objective": objective}


async def test_each_trial_is_an_experiment_below_its_own_workflow(trying: Rig) -> None:
    handle = await trying.start(tried(fields={"scale": 2.0}, budget=3))
    assert (await handle.result())["reason"] == "budget"
    table = trying.table(handle.id)
    assert [r.metrics for r in table.records] == [{"accuracy": r.params["x"] * 2} for r in table.records]
    assert len(notes(trying)) == 6
