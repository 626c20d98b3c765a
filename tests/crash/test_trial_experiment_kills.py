"""The worker is killed between the stages of trials that are experiments, and within them."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from examples.experiment_search import Forest, Trained
from metta.sweep import Integer, current_stage
from metta.sweep.client.handle import SweepHandle
from metta.sweep.client.launches import Launches
from metta.sweep.contracts.outcomes import AttemptFailed, StageEnded
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment
from metta.sweep.stores.files import FileStore
from tests.crash.projects import Project
from tests.rig import pid_in

KILLED_S = 300
"""A worker and its processes import much anew after each kill."""

BUDGET = 2


POINTS = Path("points")
"""A file for each trial, with a line each time that its first stage has been run."""


class Held(Forest):
    """The example, whose first stage waits the first time to be killed before it can be recorded."""

    def train(self) -> Trained:
        trained, point = super().train(), POINTS / current_stage().key.replace("/", ".")
        if "HELD" in os.environ:
            is_first = not point.exists()
            POINTS.mkdir(exist_ok=True)
            with point.open("a", encoding="utf-8") as file:
                file.write("reached\n")
            sleep(KILLED_S if is_first else 0)
        return trained


def recorded(store: FileStore, kind: type[StageEnded | AttemptFailed]) -> list[str]:
    """Stages of which something is recorded, with their trials."""
    names = store.experiment_names()
    entries = [(name, entry) for name in names for entry in store.outcome_log(name).entries()]
    return [f"{name}/{entry.at}" for name, entry in entries if isinstance(entry, kind)]


def killing(handle: SweepHandle, store: FileStore, end: "Future[Any]") -> Iterator[str]:
    """Kill the worker as soon as a stage is recorded, and at each place that is new, until all is over."""
    seen: set[str] = set()
    lock = Launches(store.root).lock(handle.sweep_id)
    while not end.done():
        reached = {file.name for file in POINTS.glob("*")}
        if news := (reached | {*recorded(store, StageEnded)}) - seen:
            seen |= news
            os.kill(pid_in(lock), signal.SIGKILL)
            yield from news
        sleep(0.01)


@pytest.mark.timeout(KILLED_S)
def test_recorded_stages_never_run_again_and_trials_are_counted_once(
    here: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = SweepExperiment(
        Held(max_depth=1, trees=5),
        {"max_depth": Integer(1, 12)},
        metric="accuracy",
        seed=1,
        executor=LocalExecutor(max_parallel=1),
    )
    undisturbed = sweep.run(BUDGET, debug=True, name="undisturbed")
    monkeypatch.setenv("HELD", "1")
    handle, store = sweep.start(BUDGET, name="forests"), FileStore(here.store)
    with ThreadPoolExecutor(1) as pool:
        end = pool.submit(lambda: handle.result().trials)
        killed = list(killing(handle, store, end))
        trials = end.result()
    assert [(t.params, t.metrics) for t in trials] == [(t.params, t.metrics) for t in undisturbed.trials]
    stages = recorded(store, StageEnded)
    assert stages == [
        f"forests/trial-{trial}/experiment/{stage}" for trial in range(BUDGET) for stage in ("train", "score")
    ]
    # the very last one is recorded along with the end
    assert len({*stages} & {*killed}) >= len(stages) - 1
    for trial in range(BUDGET):
        point = f"forests.trial-{trial}.experiment.train"
        assert point in killed
        assert (POINTS / point).read_text("utf-8").count("reached") == 2  # the second run was recorded
    assert recorded(store, AttemptFailed) == []
    evidence = here.evidence("forests")
    assert evidence.epochs() == 1
    assert [(r.status, r.attempt) for r in evidence.table().records] == [("completed", 1)] * BUDGET
