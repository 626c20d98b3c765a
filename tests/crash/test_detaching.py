"""Programs come and go; the sweep goes on, and leaves no process behind when it is told to stop."""

import sys
from subprocess import PIPE, Popen

import pytest

from tests.conftest import leftovers
from tests.crash.evidence import Story
from tests.crash.projects import Project
from tests.crash.training import STEPS, parents

BUDGET = 24
FAMILIES = 50

TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
"""A program that runs another one in a terminal, in which its own input is typed."""


def test_ctrl_c_detaches_and_attach_shows_the_rest(here: Project, undisturbed: Story) -> None:
    evidence = here.evidence("followed")
    command = [sys.executable, "-c", TERMINAL, *here.command(*here.run("followed", BUDGET))]
    with Popen(command, cwd=here.folder, stdin=PIPE, stdout=PIPE) as terminal:
        evidence.wait_for(reports=2 * STEPS)
        shown, _ = terminal.communicate(b"\x03")
    assert terminal.returncode == 130
    assert b"sweep attach followed" in shown
    assert evidence.table().finish is None
    assert f"{BUDGET} completed" in here.sweep("attach", "followed")
    evidence.assert_complete(BUDGET)
    assert evidence.story() == undisturbed[:BUDGET]
    assert evidence.epochs() == 1


@pytest.mark.timeout(90)
def test_stopped_projects_go_on_and_leave_no_process_behind(here: Project) -> None:
    evidence = here.evidence("family")
    parents.start(FAMILIES, name="family")
    before = []
    for _ in range(3):
        evidence.wait_for(evidence.reports() + STEPS)
        here.sweep("dev", "--stop")
        assert leftovers(here.folder) == []
        before.append(evidence.recorded())
        here.sweep("show")
    evidence.wait_for_end()
    evidence.assert_kept(*before)
    evidence.assert_complete(FAMILIES)
    assert evidence.epochs() == 4
