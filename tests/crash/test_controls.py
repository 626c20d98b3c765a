"""What people want of a sweep holds, whoever is killed while they say it."""

from metta.sweep import Budget
from metta.sweep.client.connection import connect
from metta.sweep.client.loop import call
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.decisions import Finish, Start
from metta.sweep.contracts.events import Opened
from tests.crash.evidence import Evidence, Story
from tests.crash.projects import Project, kill
from tests.crash.training import STEPS, narrow

BUDGET = 12
FEW = 4


def reason(evidence: Evidence) -> str:
    """Why the search is over, once it is."""
    evidence.wait_for_end()
    finish = evidence.table().finish
    assert finish
    return finish.reason


def test_a_stop_that_the_worker_did_not_live_to_hear_of(here: Project) -> None:
    handle = narrow.start(BUDGET, name="stopped")
    evidence = here.evidence("stopped")
    evidence.wait_for(FEW * STEPS)
    handle.stop()
    kill(*here.workers("stopped"))
    started = evidence.table().counts.started
    here.sweep("ls")
    assert reason(evidence) == "stopped"
    assert evidence.table().counts.started == started, "nothing new begins after a stop"
    evidence.assert_nothing_done_again()


def test_a_budget_lowered_while_no_worker_lives(here: Project, undisturbed: Story) -> None:
    narrow.start(BUDGET, name="lowered")
    evidence = here.evidence("lowered")
    evidence.wait_for(STEPS // 2)
    kill(*here.workers("lowered"))
    evidence.wait_until(lambda: not here.workers("lowered"))

    async def lowered() -> None:
        workflow = (await connect(Settings.load())).get_workflow_handle("lowered")
        await workflow.signal("set_budget", FEW)  # an update would need a worker

    call(lowered())
    here.sweep("ls")
    assert reason(evidence) == "budget"
    evidence.assert_complete(FEW)
    assert evidence.story() == undisturbed[:FEW]


def test_budgets_raised_before_and_after_the_worker_is_killed(here: Project, undisturbed: Story) -> None:
    handle = narrow.start(FEW, name="raised")
    evidence = here.evidence("raised")
    evidence.wait_for(STEPS)
    handle.set_budget(BUDGET - 1)
    evidence.wait_for((FEW + 1) * STEPS)
    kill(*here.workers("raised"))
    here.sweep("budget", "raised", str(BUDGET))
    evidence.wait_for(BUDGET * STEPS)
    assert reason(evidence) == "budget"
    evidence.assert_complete(BUDGET)
    assert evidence.story() == undisturbed[:BUDGET]
    started = 0
    for chunk in evidence.chunks():
        started += sum(isinstance(decision, Start) for decision in chunk.decisions)
        if chunk.epoch > 1 and any(isinstance(decision, Finish) for decision in chunk.decisions):
            assert started >= BUDGET - 1, "it never looks again as if the first budget were in force"


def test_time_without_a_worker_is_not_counted(here: Project) -> None:
    limit_s = 3.0
    narrow.start(Budget(seconds=limit_s), name="timed")
    evidence = here.evidence("timed")
    evidence.wait_for(3 * STEPS)
    kill(*here.workers("timed"))
    here.sweep("ls")
    assert reason(evidence) == "time"
    first, second = (event.at for event in evidence.events() if isinstance(event, Opened))
    table = evidence.table()
    assert limit_s <= table.elapsed_s < limit_s + 1.5
    assert table.at is not None
    assert table.at - second < limit_s, "what the first session used is used"
    assert table.at - first > limit_s
    evidence.assert_nothing_done_again()


def test_a_worker_killed_after_its_last_record(here: Project, undisturbed: Story) -> None:
    handle = narrow.start(FEW, name="over")
    evidence = here.evidence("over")
    evidence.wait_for_end()
    kill(*here.workers("over"))
    here.sweep("ls")
    assert handle.result().progress.counts.completed == FEW
    evidence.assert_complete(FEW)
    assert evidence.story() == undisturbed[:FEW]
