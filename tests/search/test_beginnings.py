"""What a search begins with: trials of earlier sweeps, and initial points."""

from pathlib import Path
from typing import Any

import pytest

from metta.sweep.contracts.budgets import Control
from metta.sweep.contracts.errors import DefinitionChanged, DefinitionError
from metta.sweep.contracts.events import Created, Known, Opened
from metta.sweep.contracts.failures import Failure
from metta.sweep.contracts.metrics import Objective
from metta.sweep.contracts.seeds import derived_seed
from metta.sweep.contracts.trials import Result, Trial
from tests.search.by_hand import ByHand, Made
from tests.search.components import Climber, Exploiter, Listener, component

POINTS = [{"x": 0.5}, {}, {"x": 1}]


def known(trial: int, acc: float | None = None, **fields: Any) -> Known:
    metrics = {} if acc is None else {"acc": acc}
    return Known(at=0, **{"trial": trial, "params": {"x": 0.5}, "metrics": metrics, **fields})


FAILURE = Failure(kind="oom", message="too large")
PRIOR = [known(-3, 0.5), known(-2, failure=FAILURE), known(-1, 0.7, seconds=3.0)]


class Diary(Climber):
    """Writes down what is asked of it and what it is told, in order."""

    def __init__(self, tries: int | None = None) -> None:
        super().__init__(tries=tries)
        self.entries: list[tuple[str, int]] = []

    def suggest(self, n: int) -> list[Trial]:
        self.entries.append(("asked for", self.next_number))
        return super().suggest(n)

    def observe(self, trial: Trial, result: Result) -> None:
        self.entries.append(("told", trial.number))
        super().observe(trial, result)

    def remember(self, trial: Trial) -> None:
        self.entries.append(("reminded of", trial.number))
        super().remember(trial)


class Witness(Listener):
    """Keeps the trials and results themselves, and what they were told for."""

    def __init__(self, every: bool = False) -> None:
        super().__init__(every)
        self.seen: list[tuple[Trial, Result, tuple[Objective, ...]]] = []

    def observe(self, trial: Trial, result: Result) -> None:
        super().observe(trial, result)
        self.seen.append((trial, result, self.objectives))


def witness(hand: ByHand) -> Witness:
    assert isinstance(hand.search.optimizer, Witness)
    return hand.search.optimizer


# --- trials of earlier sweeps ---


def test_the_optimizer_is_told_of_earlier_trials_before_all_else(opened: Made) -> None:
    hand = opened(prior=PRIOR, optimizer=component(Witness))
    hand.tell()
    hand.tell(hand.complete(0, acc=0.25))
    assert witness(hand).heard == [(-3, 0.5), (-2, "failure"), (-1, 0.7), (0, 0.25)]
    assert [objectives for *_, objectives in witness(hand).seen] == [(Objective("acc", "maximize"),)] * 4
    assert witness(hand).seen[1][1] == FAILURE


def test_an_earlier_trial_that_was_paused_says_where(opened: Made) -> None:
    hand = opened(prior=[known(-1, 0.5, ended_at=9)], optimizer=component(Witness))
    [(trial, _, _)] = witness(hand).seen
    assert (trial.params, trial.number, trial.ended_at) == ({"x": 0.5}, -1, 9)


def test_an_optimizer_that_wants_all_metrics_gets_those_of_earlier_trials(opened: Made) -> None:
    prior = [known(-2, 0.5, seconds=3.0), known(-1, 0.7)]
    hand = opened(prior=prior, optimizer=component(Witness, every=True))
    assert [result for _, result, _ in witness(hand).seen] == [{"acc": 0.5, "cost": 3.0}, {"acc": 0.7}]


def test_earlier_trials_are_none_of_this_sweep(opened: Made) -> None:
    hand = opened(slots=1, limits={"trials": 2}, prior=PRIOR, scheduler=component(Exploiter))
    assert hand.tell() == ["start 0"]
    table = hand.search.table
    assert (table.counts.started, table.failed, table.best, table.elapsed_s) == (1, 0, None, 0.0)
    assert hand.tell(hand.complete(0, acc=0.1)) == ["start 1"]
    assert [row.trial for row in table.leaderboard()] == [0]


def test_earlier_trials_say_which_metric_counts_when_nothing_else_does(opened: Made) -> None:
    hand = opened(prior=PRIOR, metric=None)
    assert hand.search.table.objective == Objective("acc", "maximize")
    hand.tell()
    hand.tell(hand.complete(0, metrics={"loss": 0.5}))
    failure = hand.search.table.records[0].failure
    assert failure
    assert failure.message == "the trial gave loss, but not 'acc', the metric that counts"


def test_what_was_left_out_is_recorded_and_told_to_nobody_but_people(opened: Made) -> None:
    left_out = known(-2, params={"x": 7}, metrics={"other": 1.0}, left_out="x is too large")
    hand = opened(prior=[left_out, known(-1, 0.5)], optimizer=component(Witness), metric=None)
    assert witness(hand).heard == [(-1, 0.5)]
    assert hand.search.table.objective == Objective("acc", "maximize")
    assert hand.search.table.progress().warnings == (
        "1 of 2 trials of the warm start cannot be used, the first of them because x is too large",
    )


def test_they_stand_in_the_first_chunk_and_are_looked_for_once(path: Path) -> None:
    first = ByHand(path, prior=PRIOR)
    first.open()
    [chunk] = first.chunks
    assert [type(event) for event in chunk.events] == [Created, Known, Known, Known, Opened]
    assert [event for event in chunk.events if isinstance(event, Known)] == first.search.table.known
    assert {event.at for event in chunk.events} == {first.now}

    def gone() -> list[Known]:
        raise AssertionError("the earlier sweep may be gone")

    again = ByHand(path, writer="again", optimizer={"type": "random"})
    again.search._prior = gone
    again.open(Control(run="later"))
    assert again.search.table.known == first.search.table.known
    assert not [event for event in again.chunks[1].events if isinstance(event, Known)]


def test_a_beginning_that_is_refused_leaves_nothing_behind(path: Path) -> None:
    hand = ByHand(path)

    def refused() -> list[Known]:
        raise DefinitionError(["nothing of it can be used"], "the warm start")

    hand.search._prior = refused
    with pytest.raises(DefinitionError, match="nothing of it"):
        hand.open()
    assert not path.exists()


# --- initial points ---


def test_initial_points_are_tried_first(opened: Made) -> None:
    hand = opened(slots=5, initial_points=POINTS, optimizer=component(Climber))
    assert hand.tell() == [f"start {n}" for n in range(5)]
    assert [hand.params[0], hand.params[2]] == [{"x": 0.5}, {"x": 1}]
    climber = hand.search.optimizer
    assert isinstance(climber, Climber)
    assert climber.remembered == [0, 1, 2]
    assert climber.next_number == 3
    assert [chunk.asks for chunk in hand.chunks] == [(), (2,)]


@pytest.mark.parametrize("tries", [None, 1])
def test_a_new_object_is_asked_and_told_the_same_in_the_same_order(path: Path, tries: int | None) -> None:
    begun: dict[str, Any] = {
        "prior": PRIOR,
        "initial_points": POINTS,
        "optimizer": component(Diary, tries=tries),
    }
    lived = ByHand(path, slots=5, **begun, scheduler=component(Exploiter))
    lived.open()
    lived.tell()
    lived.tell(lived.report(0, 1, acc=0.9))
    lived.tell(lived.report(1, 1, acc=0.1))  # a child of another trial takes its place
    lived.tell(lived.end(1))
    lived.tell(lived.complete(0), lived.complete(2))
    rebuilt = ByHand(path, slots=5, **begun, scheduler=component(Exploiter))
    old, new = lived.search.optimizer, rebuilt.search.optimizer
    assert isinstance(old, Diary)
    assert isinstance(new, Diary)
    assert new.entries == old.entries
    told = [("told", -3), ("told", -2), ("told", -1)]
    assert old.entries[:7] == [*told, *(("reminded of", n) for n in range(3)), ("asked for", 3)]


def test_the_optimizer_is_not_asked_while_there_are_points(opened: Made) -> None:
    hand = opened(slots=1, initial_points=POINTS, optimizer=component(Climber), limits={"trials": 3})
    hand.tell()
    hand.tell(hand.complete(0))
    hand.tell(hand.complete(1))
    assert hand.tell(hand.complete(2)) == ["finish budget"]
    assert {chunk.asks for chunk in hand.chunks} == {()}


def test_what_a_point_does_not_name_depends_on_the_seed_and_the_number_alone(tmp_path: Path) -> None:
    def drawn(name: str, slots: int, seed: int) -> list[dict[str, Any]]:
        hand = ByHand(tmp_path / name, slots=slots, seed=seed, initial_points=[{}, {"x": 0.5}, {}])
        hand.open(trials=3)
        hand.tell()
        for number in range(3 if slots == 1 else 0):
            hand.tell(hand.complete(number))
        return hand.params

    assert drawn("together", 3, seed=7) == drawn("one by one", 1, seed=7) != drawn("other", 3, seed=8)
    first, fixed, last = drawn("again", 3, seed=7)
    assert fixed == {"x": 0.5}
    assert first != last


def test_a_trial_of_the_scheduler_takes_no_point_away(opened: Made) -> None:
    points = [{"x": n / 4} for n in range(4)]
    hand = opened(slots=2, initial_points=points, scheduler=component(Exploiter))
    hand.tell()
    hand.tell(hand.report(0, 1, acc=0.9))
    assert hand.tell(hand.report(1, 1, acc=0.1)) == ["stop 1", "start 2"]  # a child of the best one
    hand.tell(hand.end(1))
    hand.tell(hand.complete(0), hand.complete(2))
    assert [record.params["x"] for record in hand.search.table.records] == [0.0, 0.25, 0.0, 0.5, 0.75]
    assert [record.parent for record in hand.search.table.records] == [None, None, 0, None, None]


def test_points_are_part_of_the_definition(path: Path) -> None:
    ByHand(path, initial_points=POINTS).open()
    with pytest.raises(DefinitionChanged, match="initial_points was"):
        ByHand(path, initial_points=POINTS[:1]).open()
    ByHand(path, initial_points=POINTS, warm_start="another").open()


def test_a_trial_that_changes_its_parameters_changes_no_point(opened: Made) -> None:
    space = {"x": {"type": "choice", "values": [[1], [2]]}}
    hand = opened(slots=1, search_space=space, initial_points=[{"x": [1]}])
    hand.tell()
    hand.params[0]["x"].append(7)
    assert hand.spec.initial_points == ({"x": [1]},)


def test_the_seed_of_a_point_is_no_other_seed() -> None:
    assert derived_seed(7, 0, "initial") not in {derived_seed(7, 0, use) for use in ("trial", "suggest")}
