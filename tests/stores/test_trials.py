"""The trial table: what each event and each decision changes, and what changes nothing."""

from collections.abc import Callable
from typing import Any

import pytest

from metta.sweep.contracts.budgets import Budget
from metta.sweep.contracts.decisions import Finish, Resume, Retry, Start, Stop
from metta.sweep.contracts.events import Completed, Event, Opened, Reported, Stopped, Tick
from metta.sweep.contracts.metrics import Objective
from metta.sweep.contracts.sweeps import Counts
from metta.sweep.contracts.trials import Resources
from tests.stores.stories import Story, ranking, spec

# --- what each event and decision changes ---


def test_a_trial_from_its_start_to_its_end() -> None:
    story = Story(metric="loss")
    gpu = Resources(gpu=1)
    story.decide(
        Start(
            trial=0,
            params={"x": 0.5},
            seed=7,
            until_step=3,
            resources=gpu,
            parent=None,
            checkpoint_from="trials/1/c",
        )
    )
    [record] = story.table.records
    assert (record.status, record.key, record.params, record.seed) == ("running", (0, 0, 1), {"x": 0.5}, 7)
    assert (record.until_step, record.resources, record.checkpoint) == (3, gpu, "trials/1/c")
    assert story.table.running == {0: record}

    assert story.tell(
        Reported(**story.of(0), seq=0, step=1, metrics={"loss": 2.0, "acc": 0.1}, checkpoint="c1")
    )
    assert story.report(0, step=2, loss=1.0)
    assert (record.step, record.seq, record.checkpoint) == (2, 1, "c1")
    assert record.metrics == {"loss": 1.0, "acc": 0.1}
    assert record.history == [(1, {"loss": 2.0, "acc": 0.1}), (2, {"loss": 1.0})]

    assert story.pause(0, step=3, checkpoint="c3")
    assert (record.status, record.step, record.checkpoint, record.seconds) == ("paused", 3, "c3", 2.0)
    assert len(record.history) == 2  # a scheduler may want it when the trial goes on
    assert story.table.running == {}

    story.decide(Resume(trial=0, segment=1, until_step=9))
    assert (record.status, record.key, record.until_step, record.seq) == ("running", (0, 1, 1), 9, -1)
    assert record.resources == gpu

    assert story.fail(0, message="boom")
    assert record.failure
    assert (record.status, record.failure.message, record.failed, record.seconds) == (
        "failed",
        "boom",
        1,
        4.0,
    )
    story.decide(Retry(trial=0, segment=1, attempt=2))
    assert (record.status, record.key, record.seq) == ("running", (0, 1, 2), -1)

    assert story.complete(0, loss=0.25)
    assert (record.status, record.metrics["loss"], record.seconds) == ("completed", 0.25, 6.0)
    assert record.failure is None
    assert record.history == []


def test_a_child_keeps_its_parent() -> None:
    story = Story()
    story.start(2, parent=5)
    assert [record.parent for record in story.table.records] == [5, 5]


def test_counts_and_progress() -> None:
    story = Story(metric="loss")
    story.start(7)
    story.complete(0, loss=1)
    story.complete(1, loss=2)
    story.fail(2)
    story.pause(3)
    story.decide(Stop(trial=4))
    story.end(4)
    counts = Counts(started=7, running=2, paused=1, completed=2, failed=1, stopped=1)
    assert story.table.counts == counts
    progress = story.table.progress(top=1)
    assert (progress.counts, progress.metric, progress.goal) == (counts, "loss", "minimize")
    assert [row.trial for row in progress.best or ()] == [0]


def test_a_stopped_trial_keeps_its_value_and_a_retried_one_is_no_failure() -> None:
    story = Story(metric="loss")
    story.start(2)
    story.report(0, step=1, loss=3)
    story.decide(Stop(trial=0))
    assert story.table.records[0].stopping
    story.end(0)
    story.fail(1)
    assert (story.table.failed, story.table.failed_in_run) == (1, 1)
    story.decide(Retry(trial=1, segment=0, attempt=2))
    assert (story.table.failed, story.table.failed_in_run) == (0, 0)
    assert ranking(story.table) == [(0, 3)]


def test_a_trial_that_was_told_to_stop_at_the_end_of_its_segment_is_stopped() -> None:
    story = Story()
    story.start()
    story.decide(Stop(trial=0))
    story.pause(0)
    assert story.table.records[0].status == "stopped"


@pytest.mark.parametrize(
    ("kind", "failed", "free"), [("user", 1, 0), ("oom", 1, 0), ("infra", 0, 1), ("lost", 0, 1)]
)
def test_who_pays_for_a_failed_attempt(kind: Any, failed: int, free: int) -> None:
    story = Story()
    story.start()
    story.fail(0, kind=kind)
    record = story.table.records[0]
    assert (record.failed, record.free) == (failed, free)


def test_failed_attempts_are_counted_by_kind_also_those_that_were_tried_again() -> None:
    story = Story(metric="loss")
    story.start(4)
    story.fail(0, kind="oom")
    story.fail(1, kind="infra")
    for trial in (0, 1):
        story.decide(Retry(trial=trial, segment=0, attempt=2))
    story.fail(0, kind="oom")
    story.complete(1, loss=1)
    story.complete(2, time=1)
    story.end(3)
    story.decide(Retry(trial=3, segment=0, attempt=2))  # it was interrupted, and has not failed
    progress = story.table.progress()
    assert (progress.failed_attempts, progress.retried) == ({"oom": 2, "infra": 1, "bad_metric": 1}, 2)
    assert progress.counts.failed == 2


def test_what_a_retry_says_of_resources_stays_until_something_else_is_said() -> None:
    story = Story()
    story.start(resources=Resources(memory_gib=4))
    more = Resources(memory_gib=8)
    story.fail(0, kind="oom")
    story.decide(Retry(trial=0, segment=0, attempt=2, resources=more))
    story.fail(0)
    story.decide(Retry(trial=0, segment=0, attempt=3))
    assert story.table.records[0].resources == more
    story.pause(0)
    story.decide(Resume(trial=0, segment=1))
    assert story.table.records[0].resources == more


def test_a_trial_without_the_metric_that_counts_has_failed() -> None:
    story = Story(metric="acc")
    story.start(2)
    story.complete(0, loss=1, time=2)
    story.complete(1)
    first, second = (record.failure for record in story.table.records)
    assert first
    assert second
    assert (first.kind, second.kind) == ("bad_metric", "no_result")
    assert first.message == "the trial gave loss, time, but not 'acc', the metric that counts"
    assert story.table.counts.failed == 2


# --- what changes nothing ---


def test_a_second_event_of_the_same_id_is_no_news() -> None:
    story = Story(metric="loss")
    story.start()
    at = story.later()
    events: list[Event] = [
        Opened(at=at, epoch=1, control=story.table.control),
        Reported(at=at, trial=0, seq=0, step=1, metrics={"loss": 1}),
        Completed(at=at, trial=0, metrics={"loss": 2}),
    ]
    assert [story.tell(event) for event in events] == [False, True, True]
    assert [story.tell(event) for event in events] == [False, False, False]
    assert not story.define(metric="loss")
    assert story.control(1)
    assert not story.control(1)
    assert story.tick()
    assert not story.tell(Tick(at=story.now))


def test_the_first_end_of_an_attempt_counts() -> None:
    story = Story(metric="loss")
    story.start(4)
    story.decide(Stop(trial=0))
    ends: list[Callable[[int], bool]] = [
        story.end,
        story.pause,
        story.fail,
        lambda trial: story.complete(trial, loss=1),
    ]
    for trial, end in enumerate(ends):
        assert end(trial)
        status = story.table.records[trial].status
        assert [late(trial) for late in ends] == [False] * 4
        assert not story.report(trial, step=99, loss=0)
        assert story.table.records[trial].status == status
    assert story.table.counts == Counts(started=4, stopped=1, paused=1, failed=1, completed=1)


def test_late_events_of_earlier_attempts_and_segments_are_no_news() -> None:
    story = Story()
    story.start()
    first = story.of(0)
    story.fail(0)
    story.decide(Retry(trial=0, segment=0, attempt=2))
    assert not story.tell(Stopped(**first))
    assert not story.tell(Reported(**first, seq=5, step=5, metrics={"loss": 1}))
    second = story.of(0)
    story.pause(0)
    story.decide(Resume(trial=0, segment=1))
    assert not story.tell(Completed(**second, metrics={"loss": 1}))
    assert not story.tell(Completed(at=story.now, trial=77, metrics={"loss": 1}))
    assert story.table.records[0].running


def test_steps_that_are_recorded_already_are_no_news_in_the_next_attempt() -> None:
    story = Story()
    story.start()
    for step in (1, 2, 3):
        story.report(0, step, loss=step)
    story.fail(0)
    story.decide(Retry(trial=0, segment=0, attempt=2))
    assert [story.report(0, step, seq=step, loss=-step) for step in (2, 3, 4)] == [False, False, True]
    assert story.table.records[0].metrics == {"loss": -4}
    assert not story.report(0, step=9, seq=4, loss=0)  # the same report again


# --- the metric that counts ---


def test_the_only_metric_counts_in_the_direction_that_its_name_suggests() -> None:
    story = Story()
    story.start(2)
    assert story.table.objective is None
    story.complete(0, val_loss=2)
    story.complete(1, val_loss=1)
    assert story.table.objective == Objective("val_loss", "minimize")
    assert ranking(story.table) == [(1, 1), (0, 2)]


def test_of_several_metrics_none_counts_until_one_is_named() -> None:
    story = Story()
    story.start(3)
    story.complete(0, a=1, b=3)
    story.complete(1, a=2, b=2)
    story.report(2, step=1, a=3, b=1)
    assert (story.table.objective, story.table.best, ranking(story.table)) == (None, None, [])
    assert story.table.succeeded
    assert story.define(metric="b")
    assert story.table.objective == Objective("b", "maximize")
    assert ranking(story.table) == [(0, 3), (1, 2), (2, 1)]


@pytest.mark.parametrize(("goal", "best"), [("minimize", 1), ("maximize", 0)])
def test_a_goal_that_is_said_later_decides_on_bare_numbers(goal: str, best: int) -> None:
    story = Story()
    story.start(2)
    story.complete(0, value=2)
    story.complete(1, value=1)
    assert story.table.objective is None
    story.define(goal=goal)
    assert story.table.objective == ("value", goal)
    assert story.table.best is story.table.records[best]


def test_a_bare_number_is_the_metric_that_is_named() -> None:
    story = Story(metric="acc")
    story.start()
    story.complete(0, value=2)
    assert story.table.records[0].metrics == {"acc": 2}
    assert story.table.objective == ("acc", "maximize")


def test_a_bare_number_gets_the_name_that_is_given_later() -> None:
    story = Story(goal="minimize")
    story.start(2)
    story.complete(0, value=2)
    story.define(goal="minimize", metric="acc")
    story.complete(1, value=1)
    assert [record.metrics for record in story.table.records] == [{"acc": 2}, {"acc": 1}]
    assert ranking(story.table) == [(1, 1), (0, 2)]


def test_what_is_said_later_overrules_what_was_inferred() -> None:
    story = Story()
    story.start(2)
    story.complete(0, loss=2)
    story.complete(1, loss=1)
    assert story.table.objective == ("loss", "minimize")
    story.define(goal="maximize")
    assert ranking(story.table) == [(0, 2), (1, 1)]


# --- time ---


def test_time_counts_from_event_to_event_while_a_session_works() -> None:
    story = Story()
    assert story.table.elapsed_s == 0
    story.later(9)
    story.tick()
    assert story.table.elapsed_s == 10
    story.later(3600)  # nobody works on it
    story.define(retry={"max_attempts": 3})  # the definition comes before the session
    story.open()
    assert story.table.elapsed_s == 10
    story.tick()
    assert story.table.elapsed_s == 11


def test_a_clock_that_is_set_back_takes_no_time_away() -> None:
    story = Story()
    story.start(3)
    story.complete(0)
    story.now -= 3600
    story.complete(1)
    assert story.table.elapsed_s == 1
    assert story.table.at == story.now
    story.complete(2)
    assert story.table.elapsed_s == 2


# --- what people want ---


def test_a_newer_control_is_in_force_and_revokes_the_end() -> None:
    story = Story()
    story.open(trials=5)
    story.decide(Finish(reason="budget"))
    assert not story.control(0, trials=9)
    assert story.table.finish
    assert story.control(1, trials=10)
    assert story.table.finish is None
    assert story.table.control.budget == Budget(trials=10)


def test_a_session_that_is_opened_again_goes_by_the_newest_control() -> None:
    story = Story()
    story.control(3, trials=5)
    story.decide(Finish(reason="budget"))
    story.open(version=1, trials=100)  # its activity was scheduled before the change
    assert story.table.control.budget == Budget(trials=5)
    assert story.table.finish  # nobody asked for more
    story.open(version=0, run="the next run", trials=100)
    assert story.table.control.budget == Budget(trials=100)
    assert story.table.finish is None


def test_failures_count_anew_when_somebody_continues_the_sweep() -> None:
    story = Story()
    story.start(3)
    story.fail(0)
    story.open()  # a worker died
    story.fail(1)
    assert story.table.failed_in_run == 2
    story.open(run="the next run")
    assert story.table.failed_in_run == 0
    story.fail(2)
    assert (story.table.failed_in_run, story.table.failed) == (1, 3)


def test_the_commonest_failure_has_the_traceback_of_the_first_one() -> None:
    story = Story()
    story.start(5)
    assert story.table.commonest_failure() is None
    story.fail(0, message="rare")
    for trial in (2, 1):
        story.fail(trial, message="common")
    common = story.table.commonest_failure()
    assert common
    assert common is story.table.records[2].failure  # the first one that was recorded


def test_the_definition_is_that_of_the_last_session() -> None:
    story = Story(metric="loss")
    assert story.define(metric="loss", timeout=5)
    assert story.table.spec == spec(metric="loss", timeout=5)
