from typing import Any

import pytest

from metta.sweep.contracts.decisions import Stop
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.schedulers.median import MedianStoppingScheduler
from tests.schedulers.ladders import Ladder


def completed(*curves: list[float], **options: int) -> Ladder:
    """A sweep in which trials with these losses, step by step from 1, are complete, and one more runs."""
    ladder = Ladder(MedianStoppingScheduler(**{"min_samples": len(curves), **options}))
    for number, losses in enumerate(curves):
        ladder.slot()
        for step, loss in enumerate(losses, 1):
            ladder.report(number, step, loss)
        ladder.complete(number)
    ladder.slot()
    return ladder


def test_a_trial_is_stopped_when_its_best_is_worse_than_the_median_of_the_running_averages() -> None:
    ladder = completed([4.0, 2.0], [6.0, 4.0], [9.0, 7.0])  # averages at step 2: 3, 5, 8
    assert ladder.report(3, 1, 5.5) == []  # averages at step 1: 4, 6, 9
    assert ladder.report(3, 2, 99.0) == [Stop(trial=3)]  # its best, 5.5, is worse than 5


def test_as_good_as_the_median_is_good_enough() -> None:
    ladder = completed([4.0], [6.0], [9.0])
    assert ladder.report(3, 1, 6.0) == []


def test_a_step_that_others_did_not_report_is_compared_with_their_last_one_before() -> None:
    ladder = completed([1.0, 3.0], [1.0, 3.0])
    assert ladder.report(2, 10, 2.5) == [Stop(trial=2)]  # averages at step 2: 2, 2


@pytest.mark.parametrize(
    ("options", "stopped"), [({}, True), ({"grace_period": 2}, False), ({"min_samples": 3}, False)]
)
def test_nobody_is_judged_too_early(options: dict[str, int], stopped: bool) -> None:
    ladder = completed([1.0], [1.0], **options)
    assert bool(ladder.report(2, 1, 5.0)) == stopped


def test_failed_trials_are_no_standard() -> None:
    ladder = Ladder(MedianStoppingScheduler(min_samples=1))
    ladder.slot()
    ladder.report(0, 1, 1.0)
    ladder.fail(0)
    ladder.slot()
    assert ladder.report(1, 1, 5.0) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grace_period": 0}, "grace_period has to be a whole number of at least 1, got 0"),
        ({"min_samples": 1.5}, "min_samples has to be a whole number of at least 1, got 1.5"),
    ],
)
def test_wrong_arguments_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        MedianStoppingScheduler(**options)
