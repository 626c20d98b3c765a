"""How long it takes after kill -9 until all is as before, when a client follows (see it with `pytest -s`)."""

from collections.abc import Callable
from time import monotonic

from temporalio.service import RPCError

from metta.sweep.client.connection import connect
from metta.sweep.client.loop import call
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.budgets import Control
from metta.sweep.contracts.errors import ServerError
from tests.crash.evidence import Story
from tests.crash.projects import Project, kill
from tests.crash.training import STEPS

BUDGET = 24
TARGET_S = 15.0
"""The heartbeat timeout, and five seconds."""

VICTIMS: dict[str, Callable[[Project], list[int]]] = {
    "worker": lambda here: here.workers("watched"),
    "server": lambda here: here.server(),
    "both": lambda here: [*here.server(), *here.workers("watched")],
}


def answers() -> bool:
    """Whether server, worker and workflow answer."""

    async def asked() -> Control:
        workflow = (await connect(Settings.load())).get_workflow_handle("watched")
        control: Control = await workflow.query("control", result_type=Control)
        return control

    try:
        return bool(call(asked()))
    except (RPCError, ServerError):
        return False


def test_a_client_that_follows_brings_back_whatever_is_killed(here: Project, undisturbed: Story) -> None:
    evidence = here.evidence("watched")
    with here.beginning(*here.run("watched", BUDGET)) as client:
        for victim, find in VICTIMS.items():
            evidence.wait_for(evidence.reports() + 2 * STEPS)
            kill(*find(here))
            killed = monotonic()
            evidence.wait_for(evidence.reports() + 1)
            works_s = monotonic() - killed
            evidence.wait_until(answers)
            print(
                f"\n{victim} killed: trials after {works_s:.1f} s, answers after {monotonic() - killed:.1f} s"
            )
            assert works_s < TARGET_S
        client.communicate()
    assert client.returncode == 0
    evidence.assert_complete(BUDGET)
    assert evidence.story() == undisturbed[:BUDGET]
