"""The session: what it does when, with a pool that does what a script says."""

import os
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest

from metta.sweep.contracts.attempts import Attempt
from metta.sweep.contracts.budgets import Control
from metta.sweep.contracts.decisions import Stop
from metta.sweep.contracts.errors import DefinitionError, LedgerFenced
from metta.sweep.contracts.events import Event, Reported, Tick, TrialEvent
from metta.sweep.contracts.sweeps import Counts
from metta.sweep.contracts.trials import Resources
from metta.sweep.schedulers.base import New, Scheduler, SlotFree, Verdict, View
from tests.search.components import BelowMean, Halving, component
from tests.search.played import PATIENCE_S, Played, Plays, keys
from tests.search.scripted import complete, fail, hangs, pause, report, succeeds

# --- trials run, and are recorded ---


def test_a_sweep_from_its_first_trial_to_its_last(plays: Plays, tmp_path: Path) -> None:
    played = plays(succeeds, slots=2)
    result = played.run(trials=5)
    assert (result.reason, result.message, result.ledger) == ("budget", "", f"file://{tmp_path}/ledger.jsonl")
    assert result.progress.counts == Counts(started=5, completed=5)
    assert result.progress == played.table.progress()
    assert keys(played.pool.started) == [(n, 0, 1) for n in range(5)]
    attempt = played.pool.started[3]
    record = played.table.records[3]
    assert (attempt.params, attempt.seed, attempt.resources) == (record.params, record.seed, Resources(cpu=3))
    assert attempt.folder == f"{tmp_path}/trials/3/seg-0/try-1"
    assert attempt.resume_from is None
    assert played.pool.closed


def test_what_arrives_together_is_recorded_together(plays: Plays) -> None:
    played = plays(succeeds, slots=4)
    played.run(trials=8)
    assert [len(chunk.events) for chunk in played.chunks] == [2, 0, 4, 4]


def test_reports_are_answered_once_they_are_recorded_and_not_before(plays: Plays) -> None:
    def reports(attempt: Attempt) -> Iterator[TrialEvent]:
        for step in (1, 2, 3):
            yield report(attempt, step)
        yield complete(attempt)

    played = plays(reports, slots=2)
    recorded: list[int] = []
    played.pool.on_answer = lambda: recorded.append(
        sum(isinstance(event, Reported) for chunk in played.chunks for event in chunk.events)
    )
    played.run(trials=2)
    assert recorded == [2, 2, 4, 4, 6, 6]  # those of both trials come in one round


def test_a_report_that_says_nothing_new_is_answered_too(plays: Plays) -> None:
    def repeats(attempt: Attempt) -> Iterator[TrialEvent]:
        yield report(attempt, 1)
        yield report(attempt, 1)
        yield complete(attempt)

    played = plays(repeats)
    assert played.run(trials=1).reason == "budget"
    assert len(played.pool.answered) == 2


def test_a_trial_that_the_scheduler_stops_is_told_before_its_report_is_answered(plays: Plays) -> None:
    def falls(attempt: Attempt) -> Iterator[TrialEvent]:
        for step in range(1, 9):
            yield report(attempt, step, acc=1 / step)
        yield complete(attempt)

    played = plays(falls, scheduler=component(BelowMean))
    order: list[tuple[int, int]] = []
    played.pool.on_answer = lambda: order.append((len(played.pool.answered), len(played.pool.stopped)))
    played.run(trials=1)
    assert order == [(1, 0), (2, 1)]
    assert played.table.counts == Counts(started=1, stopped=1)


def test_trials_pause_and_go_on_from_their_checkpoints(plays: Plays, tmp_path: Path) -> None:
    def trains(attempt: Attempt) -> Iterator[TrialEvent]:
        assert attempt.until_step
        checkpoint = f"{attempt.folder}/checkpoints/{attempt.until_step}"
        yield report(attempt, attempt.until_step, acc=attempt.trial / 8, checkpoint=checkpoint)
        yield pause(attempt, attempt.until_step, checkpoint)

    played = plays(trains, slots=2, scheduler=component(Halving))
    assert played.run(trials=4).progress.counts == Counts(started=4, paused=4)
    best = [attempt for attempt in played.pool.started if attempt.trial == 3]
    assert keys(best) == [(3, 0, 1), (3, 1, 1), (3, 2, 1)]
    assert [attempt.until_step for attempt in best] == [1, 2, 4]
    assert best[1].resume_from == f"{tmp_path}/trials/3/seg-0/try-1/checkpoints/1"
    assert played.table.records[3].checkpoint == "trials/3/seg-2/try-1/checkpoints/4"


@pytest.mark.parametrize(
    ("given", "recorded"), [("{folder}/c", "trials/0/seg-0/try-1/c"), ("/data/c", "/data/c")]
)
def test_a_folder_that_was_moved_still_has_its_checkpoints(
    plays: Plays, tmp_path: Path, given: str, recorded: str
) -> None:
    def saves(attempt: Attempt) -> Iterator[TrialEvent | None]:
        yield report(attempt, 1, checkpoint=given.format(folder=attempt.folder))
        yield from hangs(attempt)

    played = plays(saves)
    running = played.begin()
    played.wait_for(lambda: played.pool.answered)
    played.session.close()
    assert running.result() is None
    assert played.table.records[0].checkpoint == recorded

    moved = tmp_path.rename(f"{tmp_path}-moved")
    later = Played(moved, succeeds)
    later.run("resumed", trials=1)
    later.close()
    assert [attempt.resume_from for attempt in later.pool.started] == [str(moved / recorded)]


# --- retries ---


def test_a_retry_waits_and_another_trial_runs_meanwhile(plays: Plays) -> None:
    def fails_once(attempt: Attempt) -> Iterator[TrialEvent]:
        yield fail(attempt) if attempt.key == (0, 0, 1) else complete(attempt)

    played = plays(fails_once, retry={"max_attempts": 2, "initial": 0.2})
    began = monotonic()
    assert played.run(trials=2).progress.counts == Counts(started=2, completed=2)
    assert keys(played.pool.started) == [(0, 0, 1), (1, 0, 1), (0, 0, 2)]
    assert monotonic() - began >= 0.2


def test_a_retry_without_a_wait_comes_before_new_trials(plays: Plays) -> None:
    def fails_once(attempt: Attempt) -> Iterator[TrialEvent]:
        yield fail(attempt) if attempt.attempt == 1 else complete(attempt)

    played = plays(fails_once, retry={"max_attempts": 2, "initial": 0})
    played.run(trials=2)
    assert keys(played.pool.started) == [(0, 0, 1), (0, 0, 2), (1, 0, 1), (1, 0, 2)]


# --- ends ---


def test_stop_ends_what_runs_what_is_queued_and_what_waits_for_another_try(plays: Plays) -> None:
    def script(attempt: Attempt) -> Iterator[TrialEvent | None]:
        if attempt.trial == 0:
            yield fail(attempt)
        yield from hangs(attempt)

    batch = {"type": "batch", "batch_size": 4}
    played = plays(script, scheduler=batch, retry={"max_attempts": 2, "initial": 3600, "maximum": 3600})
    running = played.begin()
    played.wait_for(lambda: len(played.pool.started) == 2)
    played.change(1, stop=True)
    result = running.result(PATIENCE_S)
    assert result
    assert (result.reason, result.control.version) == ("stopped", 1)
    assert result.progress.counts == Counts(started=4, stopped=4)
    assert played.pool.stopped == [(1, 0, 1)]  # of the others the pool has never heard


def test_a_queued_trial_that_is_stopped_never_starts(plays: Plays) -> None:
    def script(attempt: Attempt) -> Iterator[TrialEvent | None]:
        yield report(attempt, 1)
        yield complete(attempt)

    played = plays(script, scheduler=component(OneOfThree))
    assert played.run(trials=3).progress.counts == Counts(started=3, completed=1, stopped=2)
    assert keys(played.pool.started) == [(0, 0, 1)]


def test_a_trial_that_is_stopped_while_it_waits_for_another_try_is_not_tried_again(plays: Plays) -> None:
    def script(attempt: Attempt) -> Iterator[TrialEvent | None]:
        if attempt.trial == 2:
            yield fail(attempt)
        while played.table.records[2].attempt == 1:
            yield None
        yield report(attempt, 1)
        due = monotonic() + 1.2
        while monotonic() < due:
            yield None
        yield complete(attempt)

    retry = {"max_attempts": 2, "initial": 1.0}
    played = plays(script, slots=3, scheduler=component(OneOfThree), retry=retry)
    played.run(trials=3)
    assert (2, 0, 2) not in keys(played.pool.started)
    assert played.table.records[2].status == "stopped"


class OneOfThree(Scheduler):
    """Starts three trials, and stops the others when the first one reports."""

    def decide(self, event: Event | SlotFree, view: View) -> list[Verdict]:
        if isinstance(event, SlotFree) and not view.records:
            return [New()] * 3
        first = isinstance(event, Reported) and event.trial == 0
        return [Stop(trial=1), Stop(trial=2)] if first else []


def test_the_time_budget_ends_trials_that_are_silent(plays: Plays) -> None:
    played = plays(hangs, slots=2)
    result = played.run(seconds=0.3)
    assert result.reason == "time"
    assert result.progress.counts == Counts(started=2, stopped=2)
    assert 0.3 <= result.progress.elapsed_s < 5
    ticks = [event for chunk in played.chunks for event in chunk.events if isinstance(event, Tick)]
    assert 1 <= len(ticks) <= 3


def test_trials_that_take_their_time_to_stop_do_not_fill_the_ledger_with_ticks(plays: Plays) -> None:
    played = plays(hangs)
    played.pool.grace_rounds = 50
    played.run(seconds=0.1)
    assert len(played.chunks) < 10


def test_a_budget_that_is_raised_while_trials_run_is_used(plays: Plays) -> None:
    played = plays(lambda attempt: hangs(attempt) if attempt.trial < 1 else succeeds(attempt), slots=2)
    running = played.begin(trials=2)
    played.wait_for(lambda: played.table.counts.completed == 1)
    played.change(1, trials=4)
    played.wait_for(lambda: played.table.counts.completed == 3)
    played.change(2, stop=True)
    result = running.result(PATIENCE_S)
    assert result
    assert (result.control.version, result.progress.counts.started) == (2, 4)


def test_a_handover_lets_trials_end_and_starts_no_more(plays: Plays) -> None:
    go_on: list[int] = []

    def waits(attempt: Attempt) -> Iterator[TrialEvent | None]:
        while not go_on:
            yield None
        yield complete(attempt)

    played = plays(waits, slots=2)
    running = played.begin()
    played.wait_for(lambda: len(played.pool.started) == 2)
    played.change(0, handover=True)
    sleep(0.05)
    assert not running.done()
    go_on.append(1)
    result = running.result(PATIENCE_S)
    assert result
    assert result.reason == "handover"
    assert result.progress.counts == Counts(started=2, completed=2)
    assert played.table.finish is None

    later = plays(succeeds)
    assert later.run("resumed", trials=3).progress.counts == Counts(started=3, completed=3)
    assert keys(later.pool.started) == [(2, 0, 1)]


def test_a_handover_of_a_sweep_that_is_over_ends_it(plays: Plays) -> None:
    played = plays(succeeds)
    played.change(0, handover=True)
    played.change(1, stop=True)
    assert played.run().reason == "stopped"


def test_closing_records_nothing_and_the_next_session_goes_on(plays: Plays) -> None:
    def reports(attempt: Attempt) -> Iterator[TrialEvent | None]:
        yield report(attempt, 1)
        yield from hangs(attempt)

    played = plays(reports, slots=2)
    running = played.begin(trials=2)
    played.wait_for(lambda: len(played.pool.answered) == 2)
    before = played.path.read_bytes()
    played.session.close()
    assert running.result(PATIENCE_S) is None
    assert played.pool.closed
    assert played.path.read_bytes() == before

    later = plays(succeeds, slots=2)
    assert later.run(trials=2).progress.counts == Counts(started=2, completed=2)
    assert keys(later.pool.started) == [(0, 0, 2), (1, 0, 2)]


def test_what_happens_while_it_is_closed_is_not_recorded(plays: Plays) -> None:
    def ends_when_woken(attempt: Attempt) -> Iterator[TrialEvent | None]:
        while not played.pool.wakes:
            yield None
        yield complete(attempt)

    played = plays(ends_when_woken)
    running = played.begin(trials=2)
    played.wait_for(lambda: played.pool.started)
    played.session.close()
    assert running.result(PATIENCE_S) is None
    assert played.table.counts == Counts(started=1, running=1)


def test_a_session_that_has_ended_holds_nothing_open(plays: Plays) -> None:
    before = os.listdir("/proc/self/fd")
    plays(succeeds).run(trials=2)
    assert os.listdir("/proc/self/fd") == before


def test_one_that_is_closed_before_it_runs_starts_nothing(plays: Plays) -> None:
    played = plays(succeeds)
    played.session.close()
    assert played.session.run(Control()) is None
    assert played.pool.started == []


def test_an_end_that_is_recorded_stays(plays: Plays) -> None:
    plays(succeeds).run(trials=2)
    later = plays(succeeds)
    assert later.run(trials=2).reason == "budget"
    assert later.pool.started == []


def test_of_two_sessions_the_older_one_ends_without_a_word(plays: Plays) -> None:
    older = plays(lambda attempt: hangs(attempt) if attempt.attempt == 1 else succeeds(attempt))
    running = older.begin(trials=3)
    older.wait_for(lambda: older.pool.started)
    newer = plays(succeeds)
    result = newer.run(trials=3)
    assert result.progress.counts == Counts(started=3, completed=3)
    after = older.path.read_bytes()
    older.change(1, trials=9)
    with pytest.raises(LedgerFenced):
        running.result(PATIENCE_S)
    assert older.pool.closed
    assert older.path.read_bytes() == after


def test_an_objective_that_cannot_be_used_ends_the_session(plays: Plays) -> None:
    def unusable(attempt: Attempt) -> Iterator[TrialEvent]:
        raise DefinitionError(["it takes no argument"], "the objective")
        yield complete(attempt)

    played = plays(unusable)
    with pytest.raises(DefinitionError, match="it takes no argument"):
        played.run(trials=1)
    assert played.pool.closed
