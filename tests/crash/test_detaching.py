"""Programs come and go; the sweep goes on, and leaves no process behind when it is told to stop."""

import sys
from subprocess import PIPE, Popen

from tests.conftest import leftovers
from tests.crash.evidence import Story
from tests.crash.projects import Project
from tests.crash.training import STEPS, parents

BUDGET = 24

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


def test_a_stopped_project_goes_on_and_leaves_no_process_behind(here: Project) -> None:
    parents.start(2 * BUDGET, name="family")
    evidence = here.evidence("family")
    evidence.wait_for(STEPS)
    here.sweep("dev", "--stop")
    assert leftovers(here.folder) == [], "children of trials included"
    before = evidence.recorded()
    here.sweep("ls")
    evidence.wait_for_end()
    evidence.assert_kept(before)
    evidence.assert_complete(2 * BUDGET)
    assert evidence.epochs() == 2
