"""Memory that grows from attempt to attempt, and what of it is recorded."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.contracts.attempts import Attempt
from metta.sweep.contracts.decisions import Retry
from metta.sweep.contracts.events import AttemptEnded
from metta.sweep.contracts.trials import Resources
from metta.sweep.schedulers.base import Scheduler
from tests.search.by_hand import ByHand, Made
from tests.search.components import Halving, component
from tests.search.played import Plays
from tests.search.scripted import complete, fail

GROWS = {"max_attempts": 9, "initial": 0, "on_oom": "grow"}
MEMORY = {"cpu": 2, "memory_gib": 4}


def memory_gib(hand: ByHand, trial: int = 0) -> float | None:
    """What a trial gets by now."""
    return (hand.search.table.records[trial].resources or hand.spec.resources).memory_gib


def retries(hand: ByHand) -> list[Retry]:
    return [d for chunk in hand.chunks for d in chunk.decisions if isinstance(d, Retry)]


def test_what_ran_out_of_memory_gets_more_each_time_and_all_else_stays(opened: Made) -> None:
    hand = opened(slots=1, retry=GROWS, resources=MEMORY)
    hand.tell()
    for attempt, grown in [(2, 8), (3, 16), (4, 32)]:
        assert hand.tell(hand.fail(0, "oom")) == [f"retry 0 try {attempt}"]
        assert retries(hand)[-1].resources == Resources(cpu=2, memory_gib=grown)
    assert hand.tell(hand.complete(0)) == ["start 1"]
    assert memory_gib(hand, 1) == 4  # the next trial begins as the sweep says


def test_other_failures_leave_it_as_it_is(opened: Made) -> None:
    hand = opened(slots=1, retry=GROWS, resources=MEMORY)
    hand.tell()
    hand.tell(hand.fail(0, "user"))
    hand.tell(hand.fail(0, "oom"))
    hand.tell(hand.fail(0, "infra"))
    assert [retry.resources and retry.resources.memory_gib for retry in retries(hand)] == [None, 8, None]
    assert memory_gib(hand) == 8


def test_at_its_maximum_the_trial_has_failed(opened: Made) -> None:
    hand = opened(slots=1, retry={**GROWS, "growth": 1.5, "max_memory_gib": 7}, resources=MEMORY)
    hand.tell()
    assert hand.tell(hand.fail(0, "oom")) == ["retry 0 try 2"]
    assert memory_gib(hand) == 6
    assert hand.tell(hand.fail(0, "oom")) == ["retry 0 try 3"]
    assert memory_gib(hand) == 7
    assert hand.tell(hand.fail(0, "oom")) == ["start 1"]


def test_growth_uses_up_attempts(opened: Made) -> None:
    hand = opened(slots=1, retry={**GROWS, "max_attempts": 2}, resources=MEMORY)
    hand.tell()
    assert hand.tell(hand.fail(0, "oom")) == ["retry 0 try 2"]
    assert hand.tell(hand.fail(0, "oom")) == ["start 1"]


@pytest.mark.parametrize("kind", ["user", "infra"])
def test_it_is_kept_for_later_segments_and_sessions(opened: Made, path: Path, kind: Any) -> None:
    definition: dict[str, Any] = {
        "retry": GROWS,
        "resources": MEMORY,
        "scheduler": component(Halving),
        "slots": 1,
    }
    hand = opened(**definition)
    hand.tell()
    hand.tell(hand.fail(0, "oom"))
    again = ByHand(path, writer="the next session", **definition)
    assert again.search.table.records[0].resources == Resources(cpu=2, memory_gib=8)
    assert again.open() == ["retry 0 try 3"]
    hand = again
    for trial, then in [(0, "start 1"), (1, "resume 0 seg 1")]:
        hand.tell(hand.report(trial, step=1, acc=0.9 - trial / 2))
        assert hand.tell(hand.pause(trial, step=1)) == [then]
    assert memory_gib(hand) == 8
    hand.tell(hand.fail(0, kind))
    assert memory_gib(hand) == 8
    hand.tell(hand.fail(0, "oom"))
    assert memory_gib(hand) == 16
    assert memory_gib(ByHand(path, **definition)) == 16


def test_what_the_scheduler_gave_grows(opened: Made) -> None:
    hand = opened(slots=1, retry=GROWS, scheduler=component(Sizes))
    hand.tell()
    hand.tell(hand.fail(0, "oom"))
    assert hand.search.table.records[0].resources == Resources(cpu=5, memory_gib=20)


def test_without_a_stated_memory_there_is_another_attempt_as_it_was(opened: Made) -> None:
    hand = opened(slots=1, retry=GROWS, scheduler=component(SaysNothing))
    hand.tell()
    assert hand.tell(hand.fail(0, "oom")) == ["retry 0 try 2"]
    assert retries(hand)[0].resources is None


def test_a_trial_that_is_being_stopped_does_not_grow(opened: Made) -> None:
    hand = opened(slots=1, retry=GROWS, resources=MEMORY)
    hand.tell()
    hand.tell(hand.control(1, stop=True))
    assert hand.tell(hand.fail(0, "oom")) == ["finish stopped"]


def test_the_next_attempt_is_given_what_was_recorded(plays: Plays) -> None:
    def script(attempt: Attempt) -> Iterator[AttemptEnded]:
        has_enough = (attempt.resources.memory_gib or 0) >= 16
        yield complete(attempt) if has_enough else fail(attempt, "oom")

    played = plays(script, retry=GROWS, resources={"memory_gib": 4}, scheduler=component(Sizes))
    progress = played.run(trials=2).progress
    assert [attempt.resources.memory_gib for attempt in played.pool.started] == [10, 20] * 2
    assert (progress.counts.completed, progress.failed_attempts, progress.retried) == (2, {"oom": 2}, 2)


class Sizes(Scheduler):
    def allocate_resources(self, trial: Any) -> Resources:
        return Resources(cpu=5, memory_gib=10)


class SaysNothing(Scheduler):
    pass
