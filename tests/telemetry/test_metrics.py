"""Metrics, as Prometheus scrapes them from a real worker."""

import asyncio
import re
from pathlib import Path
from urllib.request import urlopen

import pytest
from temporalio.client import WorkflowFailureError

from metta.sweep.client.connection import connect
from metta.sweep.client.settings import Settings
from metta.sweep.stores.files import FileStore
from tests.rig import Rig, definition
from tests.telemetry.conftest import free_port, until, worker

OBJECTIVES = """\
from pathlib import Path
from time import sleep


def mixed(params):
    while Path("gate").exists():
        sleep(0.02)
    if params["x"] < 0.1:
        raise ValueError("too small")
    return {"accuracy": params["x"]}
"""

PAIR = {"type": "local", "max_parallel": 2}

SAMPLE = re.compile(r"(?P<name>\w+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")


def scraped(port: int) -> dict[str, dict[str, float]]:
    """All samples by name and labels, those left out that the engine puts on each."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    found: dict[str, dict[str, float]] = {}
    for line in text.splitlines():
        if match := SAMPLE.fullmatch(line):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', match["labels"] or ""))
            own = " ".join(v for k, v in labels.items() if k in ("status", "kind", "outcome"))
            found.setdefault(match["name"], {})[own] = float(match["value"])
    return found


async def test_what_is_scraped_while_a_sweep_runs_and_when_it_is_over(
    server: Settings, project: Path
) -> None:
    (project / "objectives.py").write_text(OBJECTIVES, "utf-8")
    gate = project / "gate"
    gate.touch()
    port = free_port()
    with worker(project, server, {"METTA_SWEEP_METRICS": f"127.0.0.1:{port}"}, "--queue", "metered"):
        await asyncio.to_thread(until, lambda: _answers(port), "the worker does not answer")
        rig = Rig(await connect(server), "metered", project, FileStore(project / ".metta-sweep"))
        points = [{"x": x} for x in (0.05, 0.25, 0.5, 0.75)]
        spec = definition("mixed", budget=4, initial_points=points, executor=PAIR)
        handle = await rig.start(spec, "metered")
        await asyncio.to_thread(
            until, lambda: _sum(port, "metta_sweep_trials_running") == 2, "no two trials run"
        )
        assert _sum(port, "metta_sweep_sessions") == 1
        gate.unlink()
        await handle.result()
        found = scraped(port)
        assert found["metta_sweep_trials_started_total"] == {"": 4}
        assert found["metta_sweep_trials_ended_total"] == {"completed": 3, "failed": 1}
        assert found["metta_sweep_attempts_failed_total"] == {"user": 1}
        assert found["metta_sweep_attempt_seconds_count"] == {"completed": 3, "failed": 1}
        assert found["metta_sweep_trials_running"] == found["metta_sweep_sessions"] == {"": 0}
        chunks = len((project / ".metta-sweep/sweeps/metered/ledger.jsonl").read_text("utf-8").splitlines())
        assert found["metta_sweep_chunk_seconds_count"] == {"": chunks}
        assert found["temporal_request_total"]  # the engine's own


async def test_jobs_are_counted_where_they_are_recorded_and_where_they_are_attended(
    server: Settings, project: Path
) -> None:
    gate = project / "gate"
    gate.touch()
    port = free_port()
    with worker(project, server, {}, "--queue", "jobs", "--metrics", f"localhost:{port}"):
        await asyncio.to_thread(until, lambda: _answers(port), "the worker does not answer")
        rig = Rig(await connect(server), "jobs", project, FileStore(project / ".metta-sweep"))
        job = {"command": ["sh", "-c", "while test -e gate; do sleep 0.05; done; exit 3"]}
        spec = {**definition(budget=2, executor=PAIR, metric="x", goal="maximize"), "objective": job}
        handle = await rig.start(spec, "jobs")
        running = "metta_sweep_trials_running"
        await asyncio.to_thread(until, lambda: _sum(port, running) == 2, "no two jobs run")
        gate.unlink()
        with pytest.raises(WorkflowFailureError):
            await handle.result()
        found = scraped(port)
        assert found["metta_sweep_trials_started_total"] == {"": 2}
        assert found["metta_sweep_trials_ended_total"] == {"failed": 2}
        assert found["metta_sweep_attempts_failed_total"] == {"user": 2}
        assert found[running] == {"": 0}


def _sum(port: int, name: str) -> float:
    return sum(scraped(port).get(name, {}).values())


def test_an_address_in_use_is_named(server: Settings, project: Path) -> None:
    port = free_port()
    with worker(project, server, {}, "--queue", "first", "--metrics", f"127.0.0.1:{port}"):
        until(lambda: _answers(port), "the first worker does not answer")
        with worker(project, server, {}, "--queue", "second", "--metrics", f"127.0.0.1:{port}") as second:
            assert second.wait(30) == 1
    said = (project / "stderr.txt").read_text("utf-8")
    assert f"error: --metrics: nothing can listen at 127.0.0.1:{port}: Address already in use" in said


def _answers(port: int) -> bool:
    try:
        scraped(port)
        return True
    except OSError:
        return False
