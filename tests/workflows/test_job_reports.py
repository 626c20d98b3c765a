"""What jobs and objectives report, and print: whatever it is, it ends nothing but their own trials."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from metta.sweep.client.settings import Settings
from tests.rig import Rig, definition, failure_of
from tests.workflows.faults import END_S, brisk, ended, serving
from tests.workflows.jobs import job


@pytest.fixture
async def rig(server: Settings, tmp_path: Path) -> AsyncIterator[Rig]:
    async with brisk(server, tmp_path / "rig") as made:
        yield made


MANY = '{f"m{i}": 1 for i in range(6000)}'
"""Metrics of 60 kB, which become 72 kB when they are written down with blanks."""


def printing(line: str) -> dict[str, object]:
    """A sweep whose only job prints a line."""
    command = ["{python}", "-c", f"import json; print('::sweep-report ' + {line})"]
    return job("", budget=1, max_failures=1) | {"objective": {"command": command}}


@pytest.mark.parametrize(
    "line",
    [
        """'{"step": 1, "accuracy": NaN}'""",
        """'{"accuracy": Infinity}'""",
        f"""json.dumps({{"step": 1, "accuracy": 1, **{MANY}}}, separators=(",", ":"))""",
    ],
    ids=["nan", "infinity", "longer than 64 KiB when it is written down"],
)
async def test_a_printed_report_that_is_none_fails_its_trial(rig: Rig, line: str) -> None:
    handle = await rig.start(printing(line))
    async with asyncio.timeout(END_S):
        assert (await failure_of(handle)).type == "SweepFailed"
    [record] = rig.table(handle.id).records
    assert record.failure
    assert record.failure.kind == "bad_metric"


@pytest.mark.parametrize("line", ["'[1, 2]'", "'7'", "'{' * 9999", "'null'"])
async def test_whatever_is_printed_its_trial_ends(rig: Rig, line: str) -> None:
    handle = await rig.start(printing(line))
    async with asyncio.timeout(END_S):
        assert (await failure_of(handle)).type == "SweepFailed"
    [record] = rig.table(handle.id).records
    assert record.failure
    assert record.failure.kind in ("bad_metric", "no_result")


@pytest.mark.parametrize(
    "program",
    [
        """printf '::sweep-report {"accuracy": 0.5}'""",
        """printf '{"result": {"accuracy": 0.5}}' >> "$METTA_SWEEP_REPORTS" """,
        """printf '{"step": 1, "metrics": {"accuracy": 0.5}}' >> "$METTA_SWEEP_REPORTS" """,
    ],
    ids=["printed", "result", "report"],
)
async def test_a_last_line_without_an_end_counts(rig: Rig, program: str) -> None:
    handle = await rig.start(job(program, budget=1, max_failures=1))
    assert await ended(handle) == "budget"
    [record] = rig.table(handle.id).records
    assert (record.status, record.metrics) == ("completed", {"accuracy": 0.5})


async def test_a_report_that_cannot_be_written_fails_its_objective_alone(rig: Rig) -> None:
    (rig.folder / "large.py").write_text(
        "def train(trial):\n"
        "    count = 2500 if trial.number == 0 else 1\n"
        "    trial.report(step=1, accuracy=1, **{f'm{n}': 0.123456789012345 for n in range(count)})\n",
        "utf-8",
    )
    handle = await rig.start(
        definition("large:train", budget=3, metric="accuracy", executor={"type": "worker"}, max_failures=9)
    )
    async with serving(rig):
        assert await ended(handle) == "budget"
    first, *others = rig.table(handle.id).records
    assert first.status == "failed"
    assert first.failure
    assert "report fewer metrics" in first.failure.message
    assert [record.status for record in others] == ["completed"] * 2
