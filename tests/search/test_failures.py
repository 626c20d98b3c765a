"""Failures: what is tried again, what fails the sweep, and which metric counts."""

from pathlib import Path
from typing import Any

import pytest

from metta.sweep.contracts.budgets import Control
from metta.sweep.contracts.decisions import Retry
from metta.sweep.contracts.failures import FREE_RETRIES
from metta.sweep.schedulers.base import Scheduler
from tests.search.by_hand import ByHand, Made, finish
from tests.search.components import Halving, component

# --- failures ---


def test_a_failed_trial_is_tried_again_after_longer_and_longer_waits(opened: Made) -> None:
    hand = opened(slots=1, limits={"trials": 1}, retry={"max_attempts": 4, "initial": 2, "maximum": 5})
    hand.tell()
    for attempt in (2, 3, 4):
        assert hand.tell(hand.fail(0)) == [f"retry 0 try {attempt}"]
    retries = [d for chunk in hand.chunks for d in chunk.decisions if isinstance(d, Retry)]
    assert [retry.delay_s for retry in retries] == [2, 4, 5]
    assert hand.tell(hand.fail(0)) == ["finish failed"]


def test_failures_of_the_machinery_are_free_but_capped(opened: Made) -> None:
    hand = opened(slots=1, retry={"initial": 0})
    hand.tell()
    for attempt in range(2, FREE_RETRIES + 2):
        assert hand.tell(hand.fail(0, "infra")) == [f"retry 0 try {attempt}"]
    assert hand.tell(hand.fail(0, "lost")) == ["start 1"]


def test_free_retries_do_not_use_up_those_of_the_trial(opened: Made) -> None:
    hand = opened(slots=1, retry={"max_attempts": 2, "initial": 0})
    hand.tell()
    assert hand.tell(hand.fail(0, "infra")) == ["retry 0 try 2"]
    assert hand.tell(hand.fail(0, "user")) == ["retry 0 try 3"]
    assert hand.tell(hand.fail(0, "user")) == ["start 1"]


@pytest.mark.parametrize("kind", ["infeasible", "oom"])
def test_what_another_try_cannot_mend_is_not_tried_again(opened: Made, kind: Any) -> None:
    hand = opened(slots=1, retry={"max_attempts": 9, "non_retryable": ["oom"]})
    hand.tell()
    assert hand.tell(hand.fail(0, kind)) == ["start 1"]


def test_a_trial_that_fails_while_it_is_being_stopped_is_not_tried_again(opened: Made) -> None:
    hand = opened(retry={"max_attempts": 9})
    hand.tell()
    hand.tell(hand.control(1, stop=True))
    assert hand.tell(hand.fail(0), hand.fail(1, "infra")) == ["finish stopped"]


def test_an_attempt_that_is_tried_again_at_once_keeps_its_slot(opened: Made) -> None:
    hand = opened(slots=2, retry={"max_attempts": 2, "initial": 0})
    hand.tell()
    assert hand.tell(hand.fail(0)) == ["retry 0 try 2"]


def test_while_an_attempt_waits_another_trial_takes_its_slot(opened: Made) -> None:
    hand = opened(slots=2, retry={"max_attempts": 2, "initial": 5})
    hand.tell()
    assert hand.tell(hand.fail(0)) == ["retry 0 try 2", "start 2"]


def test_when_the_first_trials_all_fail_the_sweep_does(opened: Made) -> None:
    hand = opened(slots=2)
    hand.tell()
    for trial in range(3):
        hand.tell(hand.fail(trial, message="rare" if trial == 0 else "common"))
    hand.tell(hand.report(3, step=1), hand.report(4, step=1))  # a report is no success yet
    assert hand.tell(hand.fail(3, message="common")) == ["start 5"]
    hand.tell(hand.report(5, step=1))
    assert hand.tell(hand.fail(4, message="rare")) == ["stop 5"]
    assert hand.tell(hand.end(5)) == ["finish failed"]
    assert finish(hand).message == "all of the 5 finished trials failed, most often with: common\n\nline 1"


def test_max_failures_says_how_many_trials_may_fail_first(opened: Made) -> None:
    hand = opened(slots=1, max_failures=1)
    hand.tell()
    assert hand.tell(hand.fail(0)) == ["finish failed"]
    assert finish(hand).message == "the trial failed: boom\n\nline 1"


@pytest.mark.parametrize("success", ["complete", "pause", "end"])
def test_after_one_success_any_number_of_trials_may_fail(opened: Made, success: str) -> None:
    hand = opened(slots=1, scheduler=component(Halving), max_failures=2)
    hand.tell()
    hand.tell(hand.report(0, step=1))
    args = {"complete": {}, "pause": {"step": 1}, "end": {}}[success]
    assert hand.tell(getattr(hand, success)(0, **args)) == ["start 1"]
    for trial in range(1, 9):
        assert hand.tell(hand.fail(trial)) == [f"start {trial + 1}"]


def test_retries_that_come_do_not_count_as_failures(opened: Made) -> None:
    hand = opened(slots=3, max_failures=2, retry={"max_attempts": 2, "initial": 0})
    hand.tell()
    assert hand.tell(hand.fail(0), hand.fail(1), hand.fail(2)) == [f"retry {k} try 2" for k in range(3)]


def test_a_sweep_that_failed_can_be_continued_and_fails_anew(opened: Made) -> None:
    hand = opened(slots=1, max_failures=2)
    hand.tell()
    hand.tell(hand.fail(0))
    assert hand.tell(hand.fail(1)) == ["finish failed"]
    hand.open(Control(run="resumed"))
    assert hand.tell() == ["start 2"]
    assert hand.tell(hand.fail(2)) == ["start 3"]
    assert hand.tell(hand.fail(3)) == ["finish failed"]


def test_a_worker_that_dies_does_not_hide_failures(opened: Made) -> None:
    hand = opened(slots=1, max_failures=2)
    hand.tell()
    hand.tell(hand.fail(0))
    hand.open()
    assert hand.tell(hand.fail(1)) == ["finish failed"]


def test_a_sweep_whose_trials_failed_one_and_all_at_its_end_has_failed(opened: Made) -> None:
    hand = opened(slots=1, limits={"trials": 2})
    hand.tell()
    hand.tell(hand.fail(0))
    assert hand.tell(hand.fail(1)) == ["finish failed"]


def test_a_sweep_with_a_value_of_a_stopped_trial_has_not_failed(opened: Made) -> None:
    hand = opened(slots=1, limits={"trials": 2}, scheduler=component(StopsAtOnce))
    hand.tell()
    assert hand.tell(hand.report(0, step=1)) == ["stop 0"]
    assert hand.tell(hand.end(0)) == ["start 1"]
    assert hand.tell(hand.fail(1)) == ["finish budget"]


class StopsAtOnce(Scheduler):
    def should_stop(self, trial: Any) -> bool:
        return True


# --- the metric that counts ---


def test_a_bare_number_without_a_goal_stops_the_sweep_until_it_is_given(opened: Made, path: Path) -> None:
    hand = opened(slots=1, metric=None)
    hand.tell()
    assert hand.tell(hand.complete(0, metrics={"value": 0.5})) == ["finish failed"]
    assert 'add goal="maximize" or goal="minimize"' in finish(hand).message
    assert "the same sweep goes on with resume=True" in finish(hand).message

    told = ByHand(path, slots=1, metric=None, goal="minimize")
    told.open(Control(run="resumed"))
    assert told.tell() == ["start 1"]
    assert told.search.table.best is told.search.table.records[0]
    assert told.tell(told.complete(1, metrics={"value": 0.25})) == ["start 2"]
    assert told.search.table.best is told.search.table.records[1]


def test_several_metrics_without_a_name_stop_the_sweep_until_it_is_given(opened: Made, path: Path) -> None:
    hand = opened(slots=2, metric=None)
    hand.tell()
    assert hand.tell(hand.complete(0, metrics={"b": 1, "a": 2})) == ["stop 1"]
    assert hand.tell(hand.end(1)) == ["finish failed"]
    assert finish(hand).message.startswith(
        'the objective returns a, b, and nothing says which of them counts: add metric="a" or another one.'
    )
    told = ByHand(path, slots=1, metric="b")
    told.open(Control(run="resumed"))
    assert told.tell() == ["start 2"]


def test_the_optimizer_is_told_which_metric_counts_as_soon_as_that_is_known(opened: Made) -> None:
    hand = opened(slots=1, metric=None)
    hand.tell()
    assert not hand.search.optimizer.objectives
    hand.tell(hand.complete(0, metrics={"loss": 1}))
    assert hand.search.optimizer.objectives == (("loss", "minimize"),)
