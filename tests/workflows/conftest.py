"""What tests of workflows share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from metta.sweep.client.settings import Settings
from metta.sweep.contracts.attempts import Code
from tests.rig import Rig, working
from tests.rig import rig as rig

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def testing_rig(server: Settings, tmp_path: Path) -> AsyncIterator[Rig]:
    """A rig whose stage processes find the modules of the tests, as this process does."""
    folder = tmp_path / "rig"
    async with working(server, folder, Code(objective="", cwd=str(folder), path=(str(ROOT),))) as made:
        yield made
