"""Pause, concurrency, and budgets of epochs and cost: what people change while a sweep runs."""

from collections.abc import Iterator

import pytest

from metta.sweep.contracts.attempts import Attempt
from metta.sweep.contracts.budgets import Budget, Control
from metta.sweep.contracts.events import TrialEvent
from tests.search.by_hand import Made, finish
from tests.search.components import Halving, component
from tests.search.played import PATIENCE_S, Plays
from tests.search.scripted import complete, report


def test_a_pause_starts_nothing_and_lets_running_trials_end(opened: Made) -> None:
    hand = opened(slots=2)
    hand.tell()
    assert hand.tell(hand.control(1, pause="soon")) == []
    assert hand.tell(hand.report(0, step=1), hand.complete(1)) == []
    assert hand.tell(hand.complete(0)) == []
    assert hand.search.table.finish is None
    assert hand.tell(hand.control(2)) == ["start 2", "start 3"]


def test_a_pause_now_interrupts_what_runs_and_goes_on_from_its_checkpoint(opened: Made) -> None:
    hand = opened(slots=1)
    hand.tell()
    hand.tell(hand.report(0, step=3, checkpoint="c3"))
    assert hand.tell(hand.control(1, pause="now")) == ["interrupt 0"]
    assert hand.tell(hand.report(0, step=4, checkpoint="c4")) == []  # once is enough
    assert hand.tell(hand.end(0)) == ["retry 0 try 2"]  # the session keeps it until the pause is over
    assert hand.tell(hand.control(2)) == []
    assert hand.tell(hand.complete(0)) == ["start 1"]
    record = hand.search.table.records[0]
    assert (record.checkpoint, record.failed, record.free) == ("c4", 0, 0)


def test_a_stop_during_a_pause_ends_the_sweep(opened: Made) -> None:
    hand = opened(slots=1)
    hand.tell()
    hand.tell(hand.control(1, pause="now"))
    assert hand.tell(hand.control(2, pause="now", stop=True)) == ["stop 0"]
    assert hand.tell(hand.end(0)) == ["finish stopped"]


def test_paused_time_is_not_counted(opened: Made) -> None:
    hand = opened(slots=1, limits={"seconds": 100})
    hand.tell()
    hand.tell(hand.control(1, pause="soon", seconds=100))
    before = hand.search.table.elapsed_s
    assert hand.search.next_tick_s is None
    hand.now += 1000
    assert hand.tell(hand.control(2, seconds=100)) == []
    assert hand.search.table.elapsed_s == before
    assert hand.tell(hand.tick(200)) == ["stop 0"]


def test_epochs_are_those_of_all_trials_and_let_running_ones_end(opened: Made) -> None:
    hand = opened(slots=2, limits={"epochs": 10})
    hand.tell()
    hand.tell(hand.report(0, step=6), hand.report(1, step=3))
    assert hand.tell(hand.complete(0)) == ["start 2"]
    assert hand.tell(hand.report(1, step=4)) == []
    assert hand.search.table.epochs == 10
    assert hand.tell(hand.complete(2)) == []
    assert hand.tell(hand.report(1, step=9), hand.complete(1)) == ["finish budget"]


def test_when_epochs_are_used_up_nobody_is_promoted(opened: Made) -> None:
    hand = opened(slots=1, limits={"epochs": 2}, scheduler=component(Halving))
    hand.tell()
    hand.tell(hand.report(0, step=1, acc=0.5), hand.pause(0, step=1))
    assert hand.tell(hand.report(1, step=1, acc=0.9), hand.pause(1, step=1)) == ["finish budget"]


@pytest.mark.parametrize(("metrics", "cost"), [({"acc": 0.5}, 2.0), ({"acc": 0.5, "cost": 30.0}, 30.0)])
def test_a_trial_costs_what_it_says_or_the_seconds_that_it_ran(
    opened: Made, metrics: dict[str, float], cost: float
) -> None:
    hand = opened(slots=1, limits={"cost": 1.5})
    hand.tell()
    assert hand.tell(hand.complete(0, metrics=metrics)) == ["finish budget"]
    assert finish(hand).reason == "budget"
    assert hand.search.table.cost == cost
    assert hand.tell(hand.control(1, cost=100)) == ["start 1"]


def test_a_session_keeps_to_the_concurrency(plays: Plays) -> None:
    running: set[int] = set()
    at_once = []

    def watched(attempt: Attempt) -> Iterator[TrialEvent | None]:
        running.add(attempt.trial)
        at_once.append(len(running))
        yield report(attempt, 1)
        yield None
        running.discard(attempt.trial)
        yield complete(attempt)

    played = plays(watched, slots=4)
    played.session.set_control(Control(run="run", version=1, budget=Budget(trials=12), concurrency=2))
    played.run(trials=12)
    assert max(at_once[4:]) == 2


def test_a_session_interrupts_starts_nothing_and_goes_on(plays: Plays) -> None:
    def endless(attempt: Attempt) -> Iterator[TrialEvent]:
        for step in range(1, 1000):
            yield report(attempt, step)
            if attempt.attempt > 1:
                break
        yield complete(attempt)

    played = plays(endless, slots=2)
    running = played.begin(trials=3)
    played.wait_for(lambda: played.pool.answered)
    played.change(1, trials=3, pause="now")
    played.wait_for(lambda: not played.pool.busy)
    begun = len(played.pool.started)
    assert [record.status for record in played.table.records] == ["running", "running"]
    played.change(2, trials=3)
    result = running.result(PATIENCE_S)
    assert result
    assert begun == 2
    assert [a.attempt for a in played.pool.started[2:4]] == [2, 2]
