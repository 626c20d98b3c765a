"""kill -9 at random moments while trials are jobs: of workers, the server, supervisors and jobs."""

import os
from collections.abc import Callable
from functools import partial
from random import Random
from time import sleep

import psutil
import pytest

from metta.sweep.client.sweeps import Sweeps
from metta.sweep.contracts.jobs import Job
from tests.crash.conftest import ROOT
from tests.crash.evidence import Evidence, Stories
from tests.crash.projects import Project, kill
from tests.crash.training import experiment, that_learns

KILLS = int(os.environ.get("METTA_SWEEP_TEST_KILLS", "10"))
"""More of them in `make soak`."""

BUDGET = KILLS

jobs = experiment(
    Job(command=["{python}", "-m", "tests.crash.training_job"], env={"PYTHONPATH": ROOT}), **that_learns()
)


def supervisors(here: Project) -> list[int]:
    return _with_words(here, "metta.sweep.executors")


def programs(here: Project) -> list[int]:
    return _with_words(here, "tests.crash.training_job")


def _with_words(here: Project, words: str) -> list[int]:
    """Processes of jobs: they stand in the project, or name it."""
    found = []
    for process in psutil.process_iter():
        try:
            command = " ".join(process.cmdline())
            is_here = str(here.folder) in command or process.cwd().startswith(str(here.folder))
            if is_here and words in command and "metta.sweep.worker" not in command:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def victims(here: Project, evidence: Evidence, kind: str) -> list[int]:
    """Who is killed, all that are there of a kind."""
    found: dict[str, Callable[[], list[int]]] = {
        "worker": partial(here.workers, evidence.name),
        "server": here.server,
        "supervisor": partial(supervisors, here),
        "job": partial(programs, here),
    }
    return found[kind]()


@pytest.mark.timeout(60 + 20 * KILLS)
def test_whatever_is_killed_nothing_recorded_is_lost_and_nothing_is_left_behind(
    here: Project, undisturbed_halving: Stories
) -> None:
    story = undisturbed_halving(BUDGET)
    jobs.start(BUDGET, name="jobs")
    evidence = here.evidence("jobs")
    rng, before, killed = Random(5), [], 0
    evidence.wait_for(1)
    while killed < KILLS and not evidence.has_ended():
        sleep(rng.uniform(0.2, 1.0))
        pids = victims(here, evidence, rng.choice(["worker", "server", "supervisor", "job"]))
        if not pids or evidence.has_ended():
            continue
        before.append(evidence.recorded())
        kill(*pids)
        killed += 1
        Sweeps()  # any command sets going again what was killed
    assert killed >= 0.8 * KILLS, "most of the moments came in time"
    # the last one may have died while it began, when its server was killed: commands go on to be given
    evidence.wait_until(lambda: Sweeps() and evidence.has_ended(), patience_s=60 + 5 * KILLS)
    jobs.attach("jobs").result()
    assert evidence.story() == story
    evidence.assert_kept(*before)
    evidence.assert_nothing_done_again()
    evidence.assert_only_needed_checkpoints()
    assert evidence.epochs() == 1
    evidence.wait_until(lambda: not supervisors(here) and not programs(here))
