"""kill -9 at ten random moments: nothing that is recorded is lost or done again, and the search goes on."""

from collections.abc import Callable
from pathlib import Path
from random import Random
from time import sleep

import pytest

from metta.sweep.experiments import SweepExperiment
from tests.crash.evidence import Evidence, Story
from tests.crash.projects import Project, kill, moments
from tests.crash.training import HALVED, RUNGS, STEPS, halving, mortal, mortal_halving, narrow

SideBySide = Callable[[SweepExperiment, int, int], list[Evidence]]

BUDGET = 12
LONG = 50
"""So many trials are under way for long enough to be disturbed ten times."""


@pytest.fixture
def side_by_side(here: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SideBySide:
    """Starts sweeps, each as if it had the machine to itself."""

    def started(experiment: SweepExperiment, budget: int, count: int) -> list[Evidence]:
        names = [f"sweep-{n}" for n in range(count)]
        for name in names:
            (tmp_path / name).mkdir()
            monkeypatch.setenv("TMPDIR", str(tmp_path / name))  # where the slots of the machine are
            experiment.start(budget, name=name)
        return [here.evidence(name) for name in names]

    return started


def assert_undisturbed(evidence: Evidence, undisturbed: Story) -> None:
    """A sweep comes to the same end as if nothing had happened, and without anybody's help."""
    evidence.wait_for_end()
    assert SweepExperiment.attach(evidence.name).result().progress.counts.started == len(undisturbed)
    evidence.assert_sound()
    assert evidence.story() == undisturbed


def worker_killed(here: Project, sweeps: list[Evidence], reports: int) -> None:
    """Kill the worker of each sweep at another moment, and have all of them go on to their end."""
    due = dict(zip(sweeps, moments(reports, seed=1, count=len(sweeps)), strict=True))
    before = {}
    while due:
        for evidence, (reports, later_s) in [*due.items()]:
            if evidence.reports() >= reports and (pids := here.workers(evidence.name)):
                sleep(later_s)
                kill(*pids)
                before[evidence] = evidence.recorded()
                del due[evidence]
    here.sweep("show")  # any command sets them going again
    for evidence in sweeps:
        evidence.wait_for_end()
        evidence.assert_kept(before[evidence])
        assert evidence.epochs() == 2


@pytest.mark.timeout(120)
def test_the_worker(here: Project, side_by_side: SideBySide, undisturbed: Story) -> None:
    sweeps = side_by_side(narrow, BUDGET, 10)
    worker_killed(here, sweeps, BUDGET * STEPS)
    for evidence in sweeps:
        assert_undisturbed(evidence, undisturbed[:BUDGET])
        evidence.assert_complete(BUDGET)


@pytest.mark.timeout(120)
def test_the_worker_of_a_search_that_learns(
    here: Project, side_by_side: SideBySide, undisturbed_halving: Story
) -> None:
    sweeps = side_by_side(halving, HALVED, 5)
    worker_killed(here, sweeps, sum(len(told.reports) for told in undisturbed_halving))
    for evidence in sweeps:
        assert_undisturbed(evidence, undisturbed_halving)


@pytest.mark.timeout(120)
def test_the_server_which_the_worker_starts_again(here: Project, undisturbed: Story) -> None:
    narrow.start(LONG, name="served")
    evidence = here.evidence("served")
    before = []
    for reports, later_s in moments(LONG * STEPS, seed=2):
        evidence.wait_for(reports)
        evidence.wait_until(here.server)
        sleep(later_s)
        kill(*here.server())
        before.append(evidence.recorded())
    assert_undisturbed(evidence, undisturbed[:LONG])
    evidence.assert_complete(LONG)
    evidence.assert_kept(*before)
    assert evidence.epochs() == 1, "the session went on all the time"


@pytest.mark.timeout(120)
def test_the_server_and_all_workers_of_sweeps_at_ten_different_points(
    here: Project, side_by_side: SideBySide, undisturbed: Story
) -> None:
    sweeps = side_by_side(narrow, BUDGET, 10)
    sweeps[-1].wait_for(reports=1)
    kill(*here.server(), *here.workers(*(evidence.name for evidence in sweeps)))
    before = {evidence: evidence.recorded() for evidence in sweeps}
    here.sweep("show")
    for evidence in sweeps:
        assert_undisturbed(evidence, undisturbed[:BUDGET])
        evidence.assert_complete(BUDGET)
        evidence.assert_kept(before[evidence])


@pytest.mark.timeout(120)
def test_a_runner(here: Project, undisturbed: Story) -> None:
    narrow.start(BUDGET, name="run")
    evidence = here.evidence("run")
    for reports, later_s in moments(BUDGET * STEPS, seed=3):
        evidence.wait_for(reports)
        evidence.wait_until(lambda: here.runners("run"))
        sleep(later_s)
        kill(*here.runners("run"))
    assert_undisturbed(evidence, undisturbed[:BUDGET])
    evidence.assert_complete(BUDGET)
    assert evidence.epochs() == 1


def test_a_runner_after_the_last_report_of_its_trial(here: Project, undisturbed: Story) -> None:
    mortal.start(2, name="mortal")
    evidence = here.evidence("mortal")
    assert_undisturbed(evidence, undisturbed[:2])
    evidence.assert_complete(2)


def test_a_runner_after_the_last_report_before_a_pause(here: Project) -> None:
    mortal_halving.start(3, name="mortal")
    evidence = here.evidence("mortal")
    evidence.wait_for_end()
    evidence.assert_sound()
    rests = {told.reports[-1][0] for told in evidence.story()}
    assert rests < set(RUNGS), "no trial goes on beyond the rung at which it is to pause"


@pytest.mark.timeout(120)
def test_the_client(here: Project, undisturbed: Story) -> None:
    evidence = here.evidence("clients")
    for moment in range(10):
        with here.beginning(*here.run(evidence.name, LONG)):
            sleep(Random(moment).uniform(0.1, 1.5))
            if moment == 5:
                evidence.wait_for(reports=1)  # the others may die before they have started it
    evidence.wait_for(evidence.reports() + STEPS)  # all clients are gone, and it goes on
    here.sweep(*here.run(evidence.name, LONG))
    assert_undisturbed(evidence, undisturbed[:LONG])
    evidence.assert_complete(LONG)
    assert evidence.epochs() == 1
