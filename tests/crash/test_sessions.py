"""Several sessions on one sweep: the last one owns it, the others are fenced off, the ledger is intact."""

import sys
from subprocess import PIPE, Popen

from tests.crash.evidence import Story
from tests.crash.hosting import BUDGET
from tests.crash.projects import Project


def hosting(name: str, run: str) -> Popen[str]:
    return Popen([sys.executable, "-m", "tests.crash.hosting", name, run], stdout=PIPE, text=True)


def test_the_older_of_two_workers_is_fenced_off(here: Project, undisturbed: Story) -> None:
    evidence = here.evidence("two")
    with hosting("two", "a") as older:
        evidence.wait_for(reports=15)
        with hosting("two", "b") as newer:
            assert older.communicate()[0] == "fenced off\n"
            assert newer.communicate()[0] == "budget\n"
    evidence.assert_complete(BUDGET)
    assert evidence.story() == undisturbed[:BUDGET]


def test_of_workers_that_begin_at_the_same_time_one_is_left(here: Project, undisturbed: Story) -> None:
    evidence = here.evidence("many")
    workers = [hosting("many", run) for run in "abcd"]
    ends = sorted(worker.communicate()[0] for worker in workers)
    assert ends == ["budget\n", *["fenced off\n"] * 3]
    evidence.assert_complete(BUDGET)
    assert evidence.story() == undisturbed[:BUDGET]
