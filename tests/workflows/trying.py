"""What tests of trials that are experiments share: how a sweep of them is written, and where it runs."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from metta.sweep.client.settings import Settings
from metta.sweep.contracts.attempts import Code
from metta.sweep.contracts.records import TrialRecord
from tests.rig import Handle, Rig, definition, working
from tests.workflows.conftest import ROOT
from tests.workflows.test_job_lane import BEAT


def tried(
    experiment: str = "Trained",
    fields: Mapping[str, object] | None = None,
    module: str = "tests.workflows.trials",
    /,
    **changes: object,
) -> dict[str, object]:
    """A sweep of one of the experiments below, as people write it."""
    objective = {"experiment": f"{module}:{experiment}", "fields": fields or {}}
    return definition("a:b", **{"metric": "accuracy", **changes}) | {"objective": objective}


@pytest.fixture
async def trying(server: Settings, tmp_path: Path) -> AsyncIterator[Rig]:
    """A rig whose stage processes find the experiments, and whose worker soon hears of cancellations."""
    folder = tmp_path / "rig"
    async with working(server, folder, code_of(folder), max_heartbeat_throttle_interval=BEAT) as made:
        yield made


def code_of(folder: Path) -> Code:
    return Code(objective="", cwd=str(folder), path=(str(ROOT),))


def first(rig: Rig, handle: Handle) -> TrialRecord:
    return rig.table(handle.id).records[0]
