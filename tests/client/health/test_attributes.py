"""Search attributes that are missing, or of a wrong type, on a server of somebody else's."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from metta.sweep.client.health.examination import examined
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.sweeps import SEARCH_ATTRIBUTES
from tests.client.health.looks import lead, look, of
from tests.rig import TEMPORAL


@pytest.fixture
async def foreign(project: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """A server that knows nothing of sweeps; the environment leads to it. Its address."""
    async with await WorkflowEnvironment.start_local(dev_server_existing_path=TEMPORAL) as made:
        address = made.client.service_client.config.target_host
        lead(monkeypatch, Settings(project, {"target_host": address, "namespace": "default"}))
        yield address
        monkeypatch.delenv("TEMPORAL_ADDRESS")


async def run(command: str, address: str) -> None:
    """Run a command that was told, with our `temporal`, which the test's environment leads to the server."""
    command = command.replace("temporal ", f"{TEMPORAL} ")
    done = await asyncio.to_thread(
        subprocess.run, command, shell=True, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


async def test_missing_ones_are_told_and_registered_when_that_is_wanted(foreign: str) -> None:
    missing = await look("attribute-missing")
    assert [finding.subject for finding in missing] == list(SEARCH_ATTRIBUTES)
    assert {finding.command for finding in missing} == {"sweep doctor --fix"}
    assert len(await look("attribute-missing")) == 4, "it only looks"
    mended = await look("attribute-missing", fix=True)
    assert {finding.fixed for finding in mended} == {"registered it"}
    assert of(await examined(), "attribute-missing") == []


async def test_one_of_a_wrong_type_is_told_and_the_command_that_is_told_cures_it(foreign: str) -> None:
    await run("temporal operator search-attribute create --name SweepBest --type Keyword", foreign)
    await look("attribute-missing", fix=True)
    [wrong] = await look("attribute-wrong", "SweepBest", fix=True)
    assert "is of type Keyword, and has to be Double" in wrong.text
    assert not wrong.fixed
    assert wrong.is_open
    await run(wrong.command, foreign)
    found = await examined()
    assert of(found, "attribute-wrong") == of(found, "attribute-missing") == []


async def test_a_namespace_that_forgets_soon_is_told(foreign: str) -> None:
    [short] = await look("retention-short", "default")
    assert short.severity == "warning"
    await run(short.command, foreign)
    assert await look("retention-short") == []
