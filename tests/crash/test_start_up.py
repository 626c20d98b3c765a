"""Whatever is killed while a sweep starts, and whoever else starts it: the next command puts it right."""

from collections.abc import Callable
from functools import partial
from random import Random
from subprocess import Popen
from time import sleep

import pytest

from tests.crash.evidence import Story
from tests.crash.projects import Project, kill
from tests.crash.training import STEPS, narrow

BUDGET = 4


@pytest.mark.parametrize(
    ("born", "client_dies"),
    [("server", True), ("worker", True), ("worker", False)],
)
def test_a_kill_at_the_moment_of_birth(
    here: Project, undisturbed: Story, born: str, client_dies: bool
) -> None:
    evidence = here.evidence("born")
    find: Callable[[], list[int]] = here.server if born == "server" else partial(here.workers, "born")
    with here.beginning(*here.run("born", BUDGET)) as client:
        found = evidence.wait_until(find)
        kill(*([client.pid] if client_dies else found))
        client.communicate()  # one that lives may help itself, or say what it cannot do
    here.sweep(*here.run("born", BUDGET))
    evidence.assert_complete(BUDGET)
    assert evidence.story() == undisturbed[:BUDGET]


def test_of_two_clients_that_start_the_same_name_one_is_refused(here: Project) -> None:
    command = ("run", *here.run("twins", BUDGET)[1:-1])  # without --resume
    with here.beginning(*command) as one, here.beginning(*command) as other:
        said = dict(_said(twin) for twin in (one, other))
    assert sorted(said) == [0, 2]
    assert "'twins' is in use" in said[2]
    here.evidence("twins").assert_complete(BUDGET)


def test_a_sweep_is_resumed_while_its_worker_takes_its_leave(here: Project, undisturbed: Story) -> None:
    evidence = here.evidence("again")
    for budget in range(2, BUDGET + 1):
        narrow.start(budget, name="again", resume=True)
        evidence.wait_for(budget * STEPS)
        sleep(Random(budget).uniform(0.0, 2.0))
    evidence.wait_for_end()
    evidence.assert_complete(BUDGET)
    assert evidence.story() == undisturbed[:BUDGET]


def test_everything_at_once_as_when_the_machine_fails(here: Project, undisturbed: Story) -> None:
    evidence = here.evidence("machine")
    with here.beginning(*here.run("machine", BUDGET)) as client:
        evidence.wait_for(STEPS + 5)
        everybody = [*here.server(), *here.workers("machine"), *here.runners("machine"), client.pid]
        kill(*everybody, *here.minder())
        client.communicate()
    before = evidence.recorded()
    here.sweep("ls")
    evidence.wait_for_end()
    evidence.assert_kept(before)
    evidence.assert_complete(BUDGET)
    assert evidence.story() == undisturbed[:BUDGET]


def _said(client: Popen[str]) -> tuple[int, str]:
    _, err = client.communicate()
    return client.returncode, err
