"""Batches: an optimizer sees the results of one before the next, and no straggler holds up a sweep."""

import pytest

from metta.sweep.contracts.decisions import Start
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.events import Completed, Failed, Reported
from metta.sweep.contracts.failures import Failure
from metta.sweep.schedulers import BatchScheduler, SynchronousBatchScheduler
from metta.sweep.schedulers.base import New, SlotFree
from metta.sweep.stores.trials import TrialTable
from tests.schedulers.lives import SPEC


class Batches:
    """A sweep with as many slots as it likes."""

    def __init__(self, scheduler: BatchScheduler) -> None:
        self.scheduler = scheduler
        self.table = TrialTable()
        self.table.spec = SPEC

    def started(self, allowed: int = 1000) -> int:
        """How many trials are started now; not more than the budget allows."""
        verdicts = self.scheduler.decide(SlotFree(1), self.table)
        assert verdicts == [New()] * len(verdicts)
        for _ in verdicts[:allowed]:
            self.table.carry(Start(trial=len(self.table.records), params={}, seed=0))
        return len(verdicts[:allowed])

    def end(self, *trials: int) -> None:
        for trial in trials:
            self.table.apply(Completed(at=0, trial=trial, metrics={"loss": 1.0}))


def test_the_next_batch_waits_for_all_of_the_one_before() -> None:
    batches = Batches(BatchScheduler(batch_size=3))
    assert [batches.started(), batches.started()] == [3, 0]
    batches.end(0, 2)
    assert batches.started() == 0
    batches.end(1)
    assert batches.started() == 3


def test_a_failed_trial_is_over_too() -> None:
    batches = Batches(BatchScheduler(batch_size=2))
    batches.started()
    batches.end(0)
    batches.table.apply(Failed(at=0, trial=1, failure=Failure(kind="user", message="no")))
    assert batches.started() == 2


def test_with_enough_results_stragglers_are_left_behind() -> None:
    batches = Batches(BatchScheduler(batch_size=4, min_results=3))
    assert batches.started() == 4
    batches.end(0, 1)
    assert batches.started() == 0
    batches.end(3)
    assert batches.started() == 4


def test_stragglers_of_all_batches_together_do_not_hold_up_the_sweep() -> None:
    batches = Batches(BatchScheduler(batch_size=4, min_results=3))
    for first in range(0, 40, 4):
        assert batches.started() == 4
        batches.end(first + 1, first + 2, first + 3)
    assert len(batches.table.running) == 10


def test_each_batch_needs_its_own_results() -> None:
    batches = Batches(BatchScheduler(batch_size=4, min_results=3))
    batches.started()
    batches.end(0, 1, 2)
    batches.started()
    batches.end(3, 4, 5)  # the straggler's result is one of the first batch
    assert batches.started() == 0
    batches.end(6)
    assert batches.started() == 4


def test_a_batch_that_the_budget_cut_is_followed_by_a_whole_one() -> None:
    batches = Batches(BatchScheduler(batch_size=4))
    batches.started()
    batches.end(0, 1, 2, 3)
    assert batches.started(allowed=2) == 2
    assert batches.started() == 0
    batches.end(4, 5)
    assert batches.started() == 4


def test_events_alone_start_nothing() -> None:
    batches = Batches(BatchScheduler(batch_size=2))
    batches.started()
    report = Reported(at=0, trial=0, seq=0, step=1, metrics={"loss": 1.0})
    assert batches.scheduler.decide(report, batches.table) == []


def test_it_has_two_names_and_one_spec() -> None:
    assert BatchScheduler is SynchronousBatchScheduler
    assert BatchScheduler(batch_size=3).spec().model_dump() == {"type": "batch", "options": {"batch_size": 3}}
    assert BatchScheduler().spec() == BatchScheduler(10).spec()


def test_all_wrong_arguments_are_told_at_once() -> None:
    with pytest.raises(DefinitionError) as error:
        BatchScheduler(batch_size=0, max_parallel=-1, min_results=True)
    assert error.value.problems == (
        "batch_size has to be a whole number of at least 1, got 0",
        "max_parallel has to be a whole number of at least 1, got -1",
        "min_results has to be a whole number of at least 1, got True",
    )


def test_more_results_than_trials_are_refused() -> None:
    with pytest.raises(DefinitionError, match="min_results is 4, more than batch_size, which is 3"):
        BatchScheduler(batch_size=3, min_results=4)
    assert BatchScheduler(batch_size=3, min_results=3).min_results == 3
