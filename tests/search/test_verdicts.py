"""Optimizers and schedulers: what they are told, and what becomes of what they want."""

from pathlib import Path
from typing import Any

import pytest

from metta.sweep.contracts.budgets import Budget, Control
from metta.sweep.contracts.decisions import Resume, Stop
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.events import Completed, SegmentEnded
from metta.sweep.contracts.sweeps import Counts
from metta.sweep.contracts.trials import Result, Trial
from metta.sweep.optimizers.base import Optimizer
from metta.sweep.schedulers.base import New, Scheduler, SlotFree, Verdict
from tests.search.by_hand import ByHand, Made
from tests.search.components import BelowMean, Climber, Exploiter, Halving, Listener, component

# --- what the optimizer is told ---


def heard(hand: ByHand) -> list[object]:
    assert isinstance(hand.search.optimizer, Listener)
    return hand.search.optimizer.heard


def test_the_optimizer_is_told_how_each_trial_ended(opened: Made, path: Path) -> None:
    definition: dict[str, Any] = {
        "optimizer": component(Listener),
        "retry": {"max_attempts": 2, "initial": 0},
    }
    hand = opened(slots=4, limits={"trials": 4}, **definition)
    hand.tell()
    hand.tell(hand.report(1, step=1, acc=0.25), hand.fail(2), hand.complete(0, acc=0.75))
    hand.tell(hand.end(1), hand.fail(2), hand.end(3))
    told = [(0, 0.75), (1, 0.25), (2, "failure"), (3, "failure")]  # nothing of an attempt that is tried again
    assert heard(hand) == told
    rebuilt = heard(ByHand(path, **definition))
    assert [entry for entry in rebuilt if entry in told] == told
    assert rebuilt[:4] == [0, 1, 2, 3]  # it need not ask again to know what is under way


def test_the_optimizer_is_told_of_pauses_and_of_what_came_later(opened: Made) -> None:
    hand = opened(slots=1, limits={"trials": 2}, optimizer=component(Listener), scheduler=component(Halving))
    hand.tell()
    hand.tell(hand.report(0, step=1, acc=0.25), hand.pause(0, step=1))
    hand.tell(hand.report(1, step=1, acc=0.75), hand.pause(1, step=1))
    assert heard(hand) == [(0, 0.25), (1, 0.75)]
    hand.tell(hand.complete(1, acc=1.0))
    assert heard(hand) == [(0, 0.25), (1, 0.75), (1, 1.0)]


def test_an_optimizer_may_want_all_metrics_and_the_cost(opened: Made) -> None:
    hand = opened(slots=2, optimizer=component(Listener, every=True))
    hand.tell()
    hand.tell(
        hand.complete(0, metrics={"acc": 0.5, "size": 3}), hand.complete(1, metrics={"acc": 1, "cost": 7})
    )
    assert heard(hand) == [(0, {"acc": 0.5, "size": 3, "cost": 2.0}), (1, {"acc": 1, "cost": 7})]


def test_an_optimizer_is_told_of_trials_that_the_scheduler_made(opened: Made, path: Path) -> None:
    definition: dict[str, Any] = {"optimizer": component(Climber), "scheduler": component(Exploiter)}
    hand = opened(slots=4, **definition)
    hand.tell()
    hand.tell(hand.report(0, step=1, acc=0.9, checkpoint="trials/0/c"))
    assert hand.tell(hand.report(1, step=1, acc=0.1)) == ["stop 1", "start 4"]
    child = hand.search.table.records[4]
    assert (child.params, child.parent, child.checkpoint) == (hand.params[0], 0, "trials/0/c")
    for search in (hand.search, ByHand(path, **definition).search):
        assert isinstance(search.optimizer, Climber)
        assert search.optimizer.remembered == [4]


def test_suggested_trials_come_before_those_that_the_scheduler_made(opened: Made) -> None:
    hand = opened(slots=3, optimizer=component(Climber), scheduler=component(Mixed))
    assert hand.tell() == ["start 0", "start 1", "start 2"]
    assert [params["x"] == 0.125 for params in hand.params] == [False, False, True]
    assert isinstance(hand.search.optimizer, Climber)
    assert hand.search.optimizer.remembered == [2]


class Mixed(Scheduler):
    def decide(self, event: Any, view: Any) -> list[Verdict]:
        if not isinstance(event, SlotFree):
            return []
        return [New(), New(params={"x": 0.125}), New()]


def test_trials_that_the_scheduler_made_start_although_the_optimizer_is_exhausted(opened: Made) -> None:
    hand = opened(slots=3, optimizer=component(Climber, tries=1), scheduler=component(Mixed))
    assert hand.tell() == ["start 0", "start 1"]


def test_an_ask_that_found_nothing_is_recorded_because_it_left_a_trace(opened: Made, path: Path) -> None:
    definition: dict[str, Any] = {"optimizer": component(Climber, tries=1)}
    hand = opened(slots=2, **definition)
    hand.tell()
    assert hand.tell() == []
    assert hand.tell() == []
    rebuilt = ByHand(path, **definition).search.optimizer
    assert isinstance(rebuilt, Climber)
    assert isinstance(hand.search.optimizer, Climber)
    assert rebuilt.asks == hand.search.optimizer.asks == 3


def test_numpy_does_not_get_into_the_ledger(opened: Made) -> None:
    hand = opened(slots=1, optimizer=component(Numeric))
    hand.tell()
    assert hand.params == [{"x": 0.5}]


class Number:
    """Stands for numpy's scalars: they give what they are by ``tolist``, too."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def tolist(self) -> Any:
        return self.value


class Numeric(Optimizer):
    def suggest(self, n: int) -> list[Trial]:
        return [Trial({"x": Number(0.5)})] * (n + 1)  # type: ignore[dict-item]  # as numpy

    def observe(self, trial: Trial, result: Result) -> None: ...


@pytest.mark.parametrize(
    ("suggestion", "message"),
    [
        ({"x": 2.0}, "x must be from 0 to 1, got 2.0"),
        ({"x": 0.5, "z": 1}, "z is unknown"),
        (None, "it has to be a Trial, got {'x': 0.5}"),
    ],
)
def test_what_is_not_in_the_space_never_gets_to_training(
    opened: Made, suggestion: dict[str, Any] | None, message: str
) -> None:
    hand = opened(slots=1, optimizer=component(Astray, suggestion=suggestion))
    with pytest.raises(DefinitionError) as error:
        hand.tell()
    assert f"a suggestion of Astray: {message}" in str(error.value)


class Astray(Optimizer):
    def __init__(self, suggestion: dict[str, Any] | None) -> None:
        self.suggestion = suggestion

    def suggest(self, n: int) -> list[Trial]:
        return [{"x": 0.5} if self.suggestion is None else Trial(self.suggestion)]  # type: ignore[list-item]  # as users do

    def observe(self, trial: Trial, result: Result) -> None: ...


def test_the_budget_that_the_sweep_was_begun_with_is_told_to_the_optimizer(opened: Made, path: Path) -> None:
    hand = opened(limits={"trials": 7}, seed=3)
    assert (hand.search.optimizer.trials, hand.search.optimizer.seed, hand.search.scheduler.seed) == (7, 3, 3)
    hand.tell(hand.control(1, trials=9))
    rebuilt = ByHand(path, seed=3)
    rebuilt.open(Control(run="resumed", budget=Budget(trials=11)))
    assert rebuilt.search.optimizer.trials == 7


# --- pauses and stops by the scheduler ---


def test_trials_pause_at_rungs_and_the_better_half_goes_on(opened: Made) -> None:
    hand = opened(slots=2, limits={"trials": 4}, scheduler=component(Halving))
    assert hand.tell() == ["start 0", "start 1"]
    assert [record.until_step for record in hand.search.table.records] == [1, 1]
    told = []
    for trial, acc in ((0, 0.1), (1, 0.4), (2, 0.3), (3, 0.2)):
        told += hand.tell(hand.report(trial, step=1, acc=acc)) + hand.tell(hand.pause(trial, step=1))
    assert told == ["start 2", "resume 1 seg 1", "start 3", "resume 2 seg 1"]
    best = hand.search.table.records[1]
    assert (best.key, best.until_step, best.checkpoint) == ((1, 1, 1), 2, "trials/1/c1")
    hand.tell(hand.report(1, step=2, acc=0.5))
    assert hand.tell(hand.pause(1, step=2)) == []  # one of two that are not there yet
    hand.tell(hand.report(2, step=2, acc=0.6))
    assert hand.tell(hand.pause(2, step=2)) == ["resume 2 seg 2"]
    hand.tell(hand.report(2, step=4, acc=0.7))
    assert hand.tell(hand.pause(2, step=4)) == ["finish budget"]
    assert hand.search.table.counts == Counts(started=4, paused=4)


def test_promotions_go_on_when_the_budget_is_used_up_and_cost_nothing(opened: Made) -> None:
    hand = opened(slots=1, limits={"trials": 2}, scheduler=component(Halving))
    hand.tell()
    for trial in (0, 1):
        hand.tell(hand.report(trial, step=1, acc=trial / 2))
        told = hand.tell(hand.pause(trial, step=1))
    assert told == ["resume 1 seg 1"]


def test_a_paused_trial_is_resumed_by_another_session(opened: Made, path: Path) -> None:
    definition: dict[str, Any] = {"scheduler": component(Halving), "slots": 1}
    hand = opened(limits={"trials": 2}, **definition)
    hand.tell()
    hand.tell(hand.report(0, step=1, acc=0.5), hand.pause(0, step=1))
    hand.tell(hand.report(1, step=1, acc=0.25))
    later = ByHand(path, **definition)
    assert later.open(trials=2) == ["retry 1 try 2"]
    assert later.tell(later.pause(1, step=1)) == ["resume 0 seg 1"]
    assert later.search.table.records[0].checkpoint == "trials/0/c1"


def test_an_attempt_of_a_later_segment_is_tried_again_in_it(opened: Made) -> None:
    hand = opened(slots=1, scheduler=component(Halving), retry={"max_attempts": 2, "initial": 0})
    hand.tell()
    for trial in (0, 1):
        hand.tell(hand.report(trial, step=1, acc=0.5 - trial / 4), hand.pause(trial, step=1))
    assert hand.tell(hand.fail(0)) == ["retry 0 try 2"]
    assert hand.search.table.records[0].key == (0, 1, 2)


def test_verdicts_on_trials_that_are_over_or_resumed_already_change_nothing(opened: Made) -> None:
    hand = opened(slots=3, scheduler=component(Confused))
    hand.tell()
    assert hand.tell(hand.report(0, step=1), hand.complete(0)) == ["start 3"]
    # a paused one is stopped, which cannot be taken back
    assert hand.tell(hand.report(1, step=1), hand.pause(1, step=1)) == ["stop 1", "start 4"]
    assert hand.search.table.records[1].status == "stopped"


class Confused(Scheduler):
    """Wants each trial of an event stopped and resumed, twice, in segments that do not exist."""

    def decide(self, event: Any, view: Any) -> list[Verdict]:
        if isinstance(event, SlotFree):
            return [New()] * event.count
        if not isinstance(event, Completed | SegmentEnded):
            return []
        verdicts: list[Verdict] = [Stop(trial=event.trial), Resume(trial=event.trial, segment=9)]
        return [*verdicts, *verdicts]


def test_what_events_start_takes_the_slots_that_are_free(opened: Made) -> None:
    hand = opened(slots=2, scheduler=component(Eager))
    hand.tell()
    assert hand.tell(hand.complete(0)) == ["start 2"]
    assert hand.tell(hand.complete(1), hand.complete(2)) == ["start 3", "start 4"]


class Eager(Scheduler):
    """Starts a trial for each one that is over, and does not wait to be asked."""

    def decide(self, event: Any, view: Any) -> list[Verdict]:
        return [New()] if isinstance(event, Completed) else super().decide(event, view)


def test_a_trial_stopped_by_the_scheduler_makes_room(opened: Made) -> None:
    hand = opened(slots=2, scheduler=component(BelowMean))
    hand.tell()
    assert hand.tell(hand.report(0, step=1, acc=0.75)) == []
    assert hand.tell(hand.report(1, step=1, acc=0.25)) == ["stop 1"]
    assert hand.tell(hand.report(1, step=2, acc=0.2)) == []  # it was on its way
    assert hand.tell(hand.end(1)) == ["start 2"]
    assert hand.tell(hand.report(1, step=3), hand.complete(1)) == []  # late
