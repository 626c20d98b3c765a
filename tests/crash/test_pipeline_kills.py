"""The worker is killed before, inside and behind every stage of the examples."""

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from metta.sweep.client.experiment_handle import ExperimentHandle
from metta.sweep.client.launches import Launches
from metta.sweep.contracts.outcomes import AttemptFailed, StageEnded
from metta.sweep.experiments.base import Pipeline
from tests.crash import walked
from tests.rig import pid_in

KILLED_S = 600
"""A worker and its processes import much anew after each kill."""


def killing(handle: ExperimentHandle, store: Path, end: "Future[Any]") -> Iterator[str]:
    """Kill the worker at each place that is new, until the experiment is over."""
    seen: set[str] = set()
    lock = Launches(store).lock(handle.experiment_id)
    while not end.done():
        reached = {file.name for file in walked.POINTS.glob("*")}
        recorded = {f"{entry.at} recorded" for entry in ended(handle)}
        if news := (reached | recorded) - seen:
            seen |= news
            os.kill(pid_in(lock), signal.SIGKILL)
            yield from news
        sleep(0.01)


def ended(handle: ExperimentHandle) -> list[StageEnded]:
    return [entry for entry in handle.log.entries() if isinstance(entry, StageEnded)]


@pytest.mark.timeout(KILLED_S)
@pytest.mark.parametrize("name", ["train", "cleaning", "sweeps"])
def test_what_is_recorded_never_runs_again_wherever_the_worker_is_killed(
    project: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    pipeline: Pipeline[Any] = getattr(walked, name)
    undisturbed = pipeline.run_local(folder="undisturbed")
    for point in walked.POINTS.glob("*"):
        point.unlink()
    monkeypatch.setenv("WALKED", "1")
    handle = pipeline.start(name=name)
    with ThreadPoolExecutor(1) as pool:
        end = pool.submit(handle.result)
        killed = list(killing(handle, project / ".metta-sweep", end))
        assert end.result() == undisturbed
    stages = [str(entry.at) for entry in ended(handle)]
    assert len(stages) == len(set(stages))
    assert {f"{stage} recorded" for stage in stages} <= set(killed)
    for point in walked.POINTS.glob("*-before"):  # killed there, or inside, or behind: three runs at most
        stage = point.name.removesuffix("-before")
        assert {f"{stage}-before", f"{stage}-after"} <= set(killed) or "sweeps" in stage, stage
        # beside it another branch is killed at as many places
        most = 8 if "@parallel" in stage else 4
        assert point.read_text("utf-8").count("reached") <= most
    assert not [entry for entry in handle.log.entries() if isinstance(entry, AttemptFailed)]
    for file in (project / ".metta-sweep").glob("**/*.json"):
        if not file.name.startswith("."):
            json.loads(file.read_bytes())
