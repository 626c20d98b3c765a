"""kill -9 at ten random moments: nothing that is recorded is lost or done again, and the search goes on.

What is killed at most of them is the sweep that has most to lose: TPE suggests, ASHA pauses and promotes.
"""

from collections.abc import Callable
from functools import partial
from operator import itemgetter
from pathlib import Path
from random import Random
from time import sleep

import pytest

from metta.sweep.client.sweeps import Sweeps
from metta.sweep.experiments import SweepExperiment
from tests.crash.evidence import Evidence, Stories, Story
from tests.crash.projects import Project, kill, moments
from tests.crash.training import RUNGS, STEPS, halving, mortal, mortal_halving

BUDGET = 16
LONG = 40
"""So many trials are under way for long enough to be disturbed ten times."""


@pytest.fixture
def on_a_machine_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lets the worker that is started next have all slots of the machine, which lie in TMPDIR."""

    def only(name: str) -> None:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        monkeypatch.setenv("TMPDIR", str(folder))

    return only


def assert_undisturbed(evidence: Evidence, undisturbed: Story) -> None:
    """A sweep comes to the same end as if nothing had happened, and without anybody's help."""
    evidence.wait_for_end()
    assert SweepExperiment.attach(evidence.name).result().progress.counts.started == len(undisturbed)
    evidence.assert_sound()
    assert evidence.story() == undisturbed


def reports_in(story: Story) -> int:
    return sum(len(told.reports) for told in story)


def _lives_or_has_ended(here: Project, evidence: Evidence) -> bool:
    return bool(here.workers(evidence.name)) or evidence.has_ended()


def test_the_workers_of_five_sweeps_twice(
    here: Project, on_a_machine_of_its_own: Callable[[str], None], undisturbed_halving: Stories
) -> None:
    story = undisturbed_halving(BUDGET)
    sweeps, due = [here.evidence(f"sweep-{n}") for n in range(5)], []
    for n, evidence in enumerate(sweeps):
        on_a_machine_of_its_own(evidence.name)
        halving.start(BUDGET, name=evidence.name)
        due += [
            (int(share * reports_in(story)), evidence, later_s) for share, later_s in moments(seed=1)[n::5]
        ]
    before = []
    for reports, evidence, later_s in sorted(due, key=itemgetter(0)):
        evidence.wait_for(reports)
        # on a busy machine a sweep may come to its end while others are being killed
        evidence.wait_until(partial(_lives_or_has_ended, here, evidence))
        sleep(later_s)
        pids = here.workers(evidence.name)
        if evidence.has_ended() or not pids:
            continue
        kill(*pids)
        before.append((evidence, evidence.recorded()))
        on_a_machine_of_its_own(evidence.name)
        Sweeps()  # any command sets going again what was killed
    assert len(before) >= 7, "most of the ten moments came in time"
    for evidence in sweeps:
        assert_undisturbed(evidence, story)
    for evidence, recorded in before:
        evidence.assert_kept(recorded)


def test_the_server_which_the_worker_starts_again(here: Project, undisturbed_halving: Stories) -> None:
    story = undisturbed_halving(LONG)
    halving.start(LONG, name="served")
    evidence = here.evidence("served")
    before = []
    for share, later_s in moments(seed=2):
        evidence.wait_for(int(share * reports_in(story)))
        sleep(later_s)
        kill(*evidence.wait_until(here.server))
        before.append(evidence.recorded())
    assert_undisturbed(evidence, story)
    evidence.assert_kept(*before)
    assert {record.attempt for record in evidence.table().records} == {1}, "trials went on all the time"


def test_the_server_and_the_workers_of_five_sweeps_twice(
    here: Project, on_a_machine_of_its_own: Callable[[str], None], undisturbed_halving: Stories
) -> None:
    sweeps = [here.evidence(f"sweep-{n}") for n in range(5)]
    for evidence in sweeps:  # one after the other, so that each is at another point
        on_a_machine_of_its_own(evidence.name)
        halving.start(BUDGET, name=evidence.name)
    before = []
    for _ in range(2):
        sweeps[-1].wait_for(sweeps[-1].reports() + STEPS)
        kill(*here.server(), *here.workers(*(evidence.name for evidence in sweeps)))
        before += [(evidence, evidence.recorded()) for evidence in sweeps]
        here.sweep("ls")
    for evidence in sweeps:
        assert_undisturbed(evidence, undisturbed_halving(BUDGET))
    for evidence, recorded in before:
        evidence.assert_kept(recorded)


def test_a_runner(here: Project, undisturbed_halving: Stories) -> None:
    story = undisturbed_halving(LONG)
    halving.start(LONG, name="run")
    evidence = here.evidence("run")
    for share, later_s in moments(seed=3):
        evidence.wait_for(int(share * reports_in(story)))
        sleep(later_s)
        kill(*evidence.wait_until(lambda: here.runners("run")))
    assert_undisturbed(evidence, story)
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
    assert rests <= set(RUNGS), "no trial goes on beyond the rung at which it is to pause"


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
