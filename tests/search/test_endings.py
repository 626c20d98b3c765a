"""Endings: why a sweep is over, and what people are told of it."""

from typing import Any

import pytest

from metta.sweep.contracts.decisions import Finish, Stop
from metta.sweep.search.endings import interruption, natural_end
from tests.stores.stories import Story


def interrupted(story: Story) -> str | None:
    end = interruption(story.table)
    return end.reason if end else None


def test_nothing_interrupts_a_sweep_without_limits() -> None:
    story = Story(metric="acc")
    story.start(2)
    story.complete(0, acc=1e9)
    assert interrupted(story) is None


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"seconds": 9}, None),
        ({"seconds": 8}, "time"),
        ({"hours": 8 / 3600}, "time"),
        ({"target": 0.5}, "target"),
        ({"target": 0.51}, None),
        ({"trials": 1}, None),  # running trials end as usual
        ({"trials": 1, "seconds": 8, "target": 0.5}, "time"),
    ],
)
def test_time_and_target_interrupt_running_trials(limits: dict[str, Any], reason: str | None) -> None:
    story = Story(metric="acc")
    story.open(run="next", **limits)
    story.start(2)
    story.report(0, step=1, acc=0.5)
    story.later(5)
    story.tick()
    story.tick()
    assert story.table.elapsed_s == 8
    assert interrupted(story) == reason


@pytest.mark.parametrize(("goal", "reason"), [("maximize", None), ("minimize", "target")])
def test_a_target_is_reached_from_the_side_of_the_goal(goal: str, reason: str | None) -> None:
    story = Story(metric="acc", goal=goal)
    story.open(run="next", target=0.9)
    story.start()
    story.complete(0, acc=0.8)
    assert interrupted(story) == reason


def test_a_target_without_a_known_metric_is_not_reached() -> None:
    story = Story()
    story.open(run="next", target=0)
    story.start()
    story.report(0, step=1, a=1, b=2)
    assert interrupted(story) is None


def test_the_value_of_a_failed_trial_reaches_no_target() -> None:
    story = Story(metric="acc")
    story.open(run="next", target=0.5)
    story.start(2)
    story.report(0, step=1, acc=1)
    story.fail(0)
    assert interrupted(story) is None


def test_a_failure_is_told_before_all_other_reasons() -> None:
    story = Story(metric="acc", max_failures=2)
    story.open(run="next", seconds=1)
    story.start(2)
    for trial in range(2):
        story.fail(trial, message="boom")
    assert interruption(story.table) == Finish(
        reason="failed", message="all of the 2 finished trials failed, most often with: boom"
    )


@pytest.mark.parametrize(("remaining", "reason"), [(0, "budget"), (3, "exhausted"), (None, "exhausted")])
def test_a_sweep_with_a_result_ends_because_nothing_is_left_to_run(
    remaining: int | None, reason: str
) -> None:
    story = Story(metric="acc")
    story.start(3)
    story.complete(0, acc=1)
    story.fail(1)
    assert natural_end(story.table, remaining) == Finish.model_validate({"reason": reason})


def test_a_sweep_without_any_result_has_failed_in_the_end() -> None:
    story = Story(metric="acc")
    story.start(2)
    story.fail(0, message="boom")
    story.decide(Stop(trial=1))
    story.end(1)
    assert natural_end(story.table, 0) == Finish(reason="failed", message="the trial failed: boom")


def test_a_sweep_that_was_stopped_before_anything_came_of_it_has_not_failed() -> None:
    story = Story(metric="acc")
    story.start()
    story.end(0)
    assert natural_end(story.table, 0).reason == "budget"
