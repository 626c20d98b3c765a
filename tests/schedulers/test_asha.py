from typing import Any

import pytest

from metta.sweep.contracts.decisions import Resume, Stop
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.schedulers.asha import ASHAScheduler
from metta.sweep.schedulers.base import New
from tests.schedulers.ladders import Ladder


def arrivals(losses: list[float], **options: Any) -> list[tuple[int, int]]:
    """Start a trial a loss, each up to the first rung; after each, promotions as (arrival, trial), from 1."""
    ladder = Ladder(ASHAScheduler(max_epochs=27, **options))
    promoted = []
    ladder.slot()
    for arrival, loss in enumerate(losses):
        number = max(n for n, r in enumerate(ladder.table.records) if r.segment == 0 and r.running)
        ladder.reach(number, loss)
        while isinstance(verdict := ladder.slot(), Resume):
            promoted.append((arrival + 1, verdict.trial + 1))
    return promoted


def test_the_trace_of_the_paper() -> None:
    losses = [5, 4, 3, 6, 2, 4.5, 1, 5.5, 2.5]
    assert arrivals(losses) == [(3, 3), (5, 5), (7, 7), (9, 9)]


@pytest.mark.parametrize("count", [1, 2, 3, 9, 20])
def test_of_equals_the_earlier_are_promoted_and_no_more_than_their_share(count: int) -> None:
    assert [trial for _, trial in arrivals([1.0] * count)] == list(range(1, count // 3 + 1))


def test_a_promoted_trial_goes_to_the_next_rung_and_is_complete_at_the_last() -> None:
    ladder = Ladder(ASHAScheduler(max_epochs=9))
    for loss in (3.0, 2.0, 1.0):
        ladder.slot()
        ladder.reach(len(ladder.table.records) - 1, loss)
    assert ladder.slot() == Resume(trial=2, segment=1, until_step=3)
    ladder.reach(2, 1.0)
    assert ladder.table.records[2].status == "paused"
    assert isinstance(ladder.slot(), New)  # one of one is not the best third


def test_the_highest_rung_is_served_first() -> None:
    ladder = Ladder(ASHAScheduler(max_epochs=9))
    for _ in range(9):
        ladder.slot()
    for number in range(9):
        ladder.reach(number, 9.0 - number)
    climbed = []
    for _ in range(3):
        verdict = ladder.slot()
        assert isinstance(verdict, Resume)
        climbed.append((verdict.trial, verdict.until_step))
        ladder.reach(verdict.trial, 9.0 - verdict.trial)
    assert climbed == [(8, 3), (7, 3), (6, 3)]
    last = ladder.slot()
    assert last == Resume(trial=8, segment=2, until_step=9, last=True)
    ladder.reach(8, 0.0)
    assert ladder.table.records[8].status == "completed"


def test_a_report_that_jumps_over_rungs_counts_for_each() -> None:
    ladder = Ladder(ASHAScheduler(max_epochs=81))
    for number in range(3):
        ladder.slot()
        ladder.reach(number, 3.0 - number, step=10)  # rungs 1, 3 and 9
    assert ladder.slot() == Resume(trial=2, segment=1, until_step=27)
    ladder.reach(2, 1.0)
    assert isinstance(ladder.slot(), New)  # nobody else is in the best third of a rung that it has left


def test_a_failed_trial_is_the_worst_of_its_rung_and_never_promoted() -> None:
    ladder = Ladder(ASHAScheduler(max_epochs=9))
    for number, loss in enumerate((2.0, None, 1.0)):
        ladder.slot()
        if loss is None:
            ladder.fail(number)
        else:
            ladder.reach(number, loss)
    assert ladder.slot() == Resume(trial=2, segment=1, until_step=3)


def test_stop_mode_lets_the_best_of_each_rung_go_on() -> None:
    ladder = Ladder(ASHAScheduler(max_epochs=9, mode="stop"))
    answers = []
    for number, loss in enumerate([1.0, 5.0, 4.0, 3.0, 2.0]):
        assert ladder.slot() == New(until_step=9, last=True)
        answers.append(ladder.report(number, 1, loss))
    assert answers == [[], [Stop(trial=1)], [Stop(trial=2)], [Stop(trial=3)], [Stop(trial=4)]]


def test_between_rungs_nobody_is_judged() -> None:
    ladder = Ladder(ASHAScheduler(max_epochs=9, mode="stop"))
    for number in range(2):
        ladder.slot()
        ladder.report(number, 1, float(-number))
    assert ladder.report(1, 2, 100.0) == []
    assert ladder.report(0, 2, 100.0) == []


@pytest.mark.parametrize(
    ("options", "trials"),
    [
        ({"max_epochs": 27}, 27),
        ({"max_t": 100}, 81),
        ({"max_resource": 243, "grace_period": 3}, 81),
        ({"max_epochs": 10**6, "reduction_factor": 10}, 10**6),
        ({"max_epochs": 1}, 1),
    ],
)
def test_without_a_budget_one_trial_in_the_first_rung_is_meant_for_the_last(
    options: dict[str, Any], trials: int
) -> None:
    assert ASHAScheduler(**options).default_trials == trials


def test_the_next_rung() -> None:
    scheduler = ASHAScheduler(max_t=100)
    assert [scheduler.get_next_rung(step) for step in (1, 10, 50)] == [3, 30, 100]


def test_brackets_differ_in_their_first_rung() -> None:
    ladder = Ladder(ASHAScheduler(max_epochs=27, brackets=3))
    firsts = []
    for _ in range(300):
        verdict = ladder.slot()
        assert isinstance(verdict, New)
        firsts.append(verdict.until_step)
    counts = [firsts.count(step) for step in (1, 3, 9)]
    # expected 208, 69, 23; six standard deviations are at most 48: a false alarm in 10**9
    assert all(abs(count - mean) < 48 for count, mean in zip(counts, (208, 69, 23), strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reduction_factor": 1}, "reduction_factor has to be at least 2, got 1"),
        ({"max_epochs": 0}, "max_epochs has to be a whole number of at least 1, got 0"),
        ({"grace_period": 10, "max_epochs": 9}, "grace_period is 10, more than max_epochs, which is 9"),
        ({"max_epochs": 9, "brackets": 4}, "brackets is 4, more than the 3 rungs"),
        ({"mode": "pause"}, 'mode has to be "promote" or "stop", got \'pause\''),
        ({"max_epochs": 9, "max_t": 9}, "max_epochs, max_t and max_resource are the same; give one of them"),
        ({"max_epoch": 9}, "max_epoch is unknown; did you mean max_epochs?"),
    ],
)
def test_wrong_arguments_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError) as error:
        ASHAScheduler(**options)
    assert message in str(error.value)
