"""Trials that are decided ahead: only where results change nothing in what is tried next."""

from collections.abc import Iterator
from typing import Any

import pytest

from metta.sweep.contracts.attempts import Attempt
from metta.sweep.contracts.events import Event, TrialEvent
from metta.sweep.contracts.sweeps import Counts
from metta.sweep.contracts.trials import Result, Trial
from metta.sweep.optimizers.random import RandomOptimizer
from metta.sweep.schedulers.asynchronous import AsynchronousScheduler
from metta.sweep.schedulers.base import SlotFree, Verdict, View
from tests.search.components import BelowMean, Climber, component
from tests.search.played import Plays, keys
from tests.search.scripted import complete, fail, hangs, succeeds

ROOM = 3


def first_then_hangs(attempt: Attempt) -> Iterator[TrialEvent | None]:
    yield from succeeds(attempt) if attempt.trial == 0 else hangs(attempt)


def test_after_the_first_success_as_many_are_started_as_find_room(plays: Plays) -> None:
    played = plays(first_then_hangs)
    played.pool.room = ROOM
    played.begin(trials=20)
    played.wait_for(lambda: played.table.counts.running == 1 + ROOM)
    assert [len(chunk.decisions) for chunk in played.chunks][:2] == [0, 1]


def test_trials_are_the_same_as_one_by_one_and_no_more_than_the_budget_allows(
    plays: Plays, tmp_path: Any
) -> None:
    one = plays(succeeds)
    one.run(trials=10)
    expected = [(record.params, record.seed, record.metrics) for record in one.table.records]
    one.path.unlink()
    ahead = plays(succeeds)
    ahead.pool.room = ROOM
    assert ahead.run(trials=10).progress.counts == Counts(started=10, completed=10)
    assert [(record.params, record.seed, record.metrics) for record in ahead.table.records] == expected
    assert keys(ahead.pool.started) == [(n, 0, 1) for n in range(10)]


@pytest.mark.parametrize(
    "definition", [{"optimizer": component(Climber)}, {"scheduler": component(BelowMean)}]
)
def test_who_learns_or_judges_sees_every_result_before_the_next_trial(
    plays: Plays, definition: dict[str, Any]
) -> None:
    played = plays(first_then_hangs, **definition)
    played.pool.room = ROOM
    played.begin(trials=20)
    played.wait_for(lambda: played.table.counts.completed == 1)
    played.wait_for(lambda: played.table.counts.running)
    assert played.table.counts.running == 1


@pytest.mark.parametrize("limit", [{"target": 0.9}, {"epochs": 100}, {"cost": 100.0}])
def test_a_budget_that_results_use_up_is_judged_after_every_trial(
    plays: Plays, limit: dict[str, float]
) -> None:
    played = plays(lambda attempt: iter([complete(attempt)] if attempt.trial == 0 else [None] * 10**6))
    played.pool.room = ROOM
    played.begin(trials=20, **limit)
    played.wait_for(lambda: played.table.counts.completed == 1)
    played.wait_for(lambda: played.table.counts.running)
    assert played.table.counts.running == 1


def test_a_sweep_in_which_nothing_succeeds_ends_after_as_many_failures_as_ever(plays: Plays) -> None:
    played = plays(lambda attempt: iter([fail(attempt)]), max_failures=3)
    played.pool.room = ROOM
    assert played.run(trials=20).progress.counts == Counts(started=3, failed=3)


def test_a_limit_of_concurrency_is_never_exceeded(plays: Plays) -> None:
    played = plays(first_then_hangs, slots=2)
    played.pool.room = ROOM
    played.begin(trials=20)
    played.wait_for(lambda: played.table.counts.running == 2 + ROOM)
    played.change(version=1, trials=20, concurrency=1)
    played.wait_for(lambda: played.table.control.version == 1)
    assert played.table.counts.started == 3 + ROOM


def test_what_was_started_ahead_is_stopped_with_the_rest(plays: Plays) -> None:
    played = plays(first_then_hangs)
    played.pool.room = ROOM
    ended = played.begin(trials=20)
    played.wait_for(lambda: played.table.counts.running == 1 + ROOM)
    played.change(version=1, trials=20, stop=True)
    result = ended.result()
    assert result
    assert result.progress.counts == Counts(started=2 + ROOM, completed=1, stopped=1 + ROOM)


@pytest.mark.parametrize("change", [{"pause": "soon"}, {"pause": "now"}, {"concurrency": 1}])
def test_what_was_started_ahead_and_has_not_begun_does_not_begin_against_what_people_want(
    plays: Plays, change: dict[str, Any]
) -> None:
    played = plays(first_then_hangs)
    played.pool.room = ROOM
    played.begin(trials=20)
    played.wait_for(lambda: played.pool.busy == 1 + ROOM)
    played.change(version=1, trials=20, **change)
    played.wait_for(lambda: played.pool.taken_back)
    assert [attempt.trial for attempt in played.pool.taken_back] == [2, 3, 4]
    played.wait_for(lambda: played.table.control.version == 1)
    assert played.pool.busy <= 1
    assert played.table.counts.stopped == 0
    played.pool.taken_back.clear()
    played.change(version=2, trials=20, pause=None, concurrency=None)
    played.wait_for(lambda: played.pool.busy == 1 + ROOM)


class Learns(RandomOptimizer):
    def observe(self, trial: Trial, result: Result) -> None:
        self.told = result


class Judges(AsynchronousScheduler):
    def decide(self, event: Event | SlotFree, view: View) -> list[Verdict]:
        return super().decide(event, view)


def test_who_changes_a_blind_one_is_not_taken_for_blind() -> None:
    assert (RandomOptimizer.result_blind, AsynchronousScheduler.result_blind) == (True, True)
    assert (Learns.result_blind, Learns.stateless, Judges.result_blind) == (False, False, False)
