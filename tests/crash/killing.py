"""kill -9 at random moments of an experiment that runs sweeps: of its worker, its server, or both."""

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from random import Random
from time import monotonic, sleep
from typing import Any, NamedTuple

import pytest

from metta.sweep.contracts.errors import ServerError
from metta.sweep.experiments import Experiment
from metta.sweep.stores.files import FileStore
from tests.crash import training
from tests.crash.evidence import Evidence
from tests.crash.projects import Project, kill

KILLS = int(os.environ.get("METTA_SWEEP_TEST_KILLS", "10"))
"""More of them in `make soak`."""

TRIALS = max(8, KILLS)
"""So many trials in a round are under way for long enough to be disturbed so often."""

PATIENCE_S = 60.0
"""So long after a kill, all goes on again."""


class Progress(NamedTuple):
    """What tells how far an experiment is.

    Args:
        made: How much of it is recorded.
        total: How much it is at its end.
    """

    made: Callable[[FileStore], int]
    total: int


def reports(store: FileStore) -> int:
    """How many reports are recorded of all sweeps."""
    return sum(Evidence(name, store.root).reports() for name in store.names())


def undisturbed(experiment: Experiment, store: Path) -> Any:
    """What an experiment comes to when nobody kills anything: in this process, where steps take no time."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("METTA_SWEEP_STORE", str(store))
        patched.setattr(training, "STEP_S", 0.0)
        return experiment.run_local()


def disturbed(
    here: Project, kind: type[Experiment], name: str, progress: Progress, kills: int = KILLS
) -> Any:
    """What an experiment comes to that has just begun while it is disturbed as often as it can be.

    Args:
        here: Its project.
        kind: Its class.
        name: Its name.
        progress: What becomes more until its end.
        kills: So often.
    """
    with ThreadPoolExecutor(1) as pool:
        end = pool.submit(_result_of, kind, name)
        killed = _killing(here, name, progress, kills, end)
        result = end.result()
    assert len(killed) >= 0.8 * kills, "most of the moments came in time"
    return result


def _result_of(kind: type[Experiment], name: str) -> Any:
    """The result, by clients that bring back whatever is killed; one gives up when that dies as it begins."""
    while True:
        try:
            return kind.attach(name).result()
        except ServerError:
            continue


def _killing(here: Project, name: str, progress: Progress, kills: int, end: "Future[Any]") -> list[str]:
    """Kill at moments spread over all of it, until the experiment is over; who was killed."""
    rng, store = Random(11), FileStore(here.store)
    killed: list[str] = []
    victims: dict[str, Callable[[], list[int]]] = {
        "worker": lambda: here.workers(name),
        "server": here.server,
        "both": lambda: [*here.server(), *here.workers(name)],
    }
    for n in range(kills):
        due, later_s = progress.total * (n + rng.random()) / kills, rng.uniform(0.0, 1.0)
        deadline = monotonic() + PATIENCE_S
        while progress.made(store) < due and not end.done():
            assert monotonic() < deadline, f"nothing goes on after {killed}"
            sleep(0.005)
        sleep(later_s)
        who = rng.choice([*victims])
        while not (pids := victims[who]()) and not end.done():
            sleep(0.01)  # it was killed just now, and begins again
        if pids and not end.done():
            kill(*pids)
            killed.append(who)
    return killed
