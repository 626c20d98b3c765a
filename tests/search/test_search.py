"""The search: what is started and what ends, within the budget."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from metta.sweep.contracts.decisions import Start
from metta.sweep.contracts.sweeps import Counts
from metta.sweep.contracts.trials import Resources
from metta.sweep.optimizers.random import RandomOptimizer
from metta.sweep.schedulers.base import Scheduler
from tests.search.by_hand import ByHand, Made
from tests.search.components import Climber, component
from tests.stores.disks import ROOT

# --- trials are started, and end ---


def test_free_slots_are_filled_with_what_the_optimizer_suggests(opened: Made) -> None:
    hand = opened(slots=3, seed=7)
    assert hand.tell() == ["start 0", "start 1", "start 2"]
    assert hand.tell() == []
    assert hand.tell(hand.complete(1)) == ["start 3"]
    optimizer = RandomOptimizer(hand.spec.search_space, seed=7)
    assert hand.params == [trial.params for trial in optimizer.suggest(4)]
    seeds = [record.seed for record in hand.search.table.records]
    assert len(set(seeds)) == 4


def test_what_is_recorded_says_who_decided_what_from_which_facts(opened: Made) -> None:
    hand = opened()
    hand.tell()
    event = hand.complete(0)
    hand.tell(event)
    *_, last = hand.chunks
    assert (last.n, last.writer, last.epoch, last.events, last.asks) == (2, "session", 1, (event,), (1,))
    assert [type(decision) for decision in last.decisions] == [Start]


def test_nothing_is_recorded_when_nothing_happens(opened: Made) -> None:
    hand = opened()
    hand.tell()
    event = hand.complete(0)
    hand.tell(event)
    before = len(hand.chunks)
    assert hand.tell() == []
    assert hand.tell(event, event) == []
    assert len(hand.chunks) == before


def test_batches_wait_for_all_their_trials(opened: Made) -> None:
    hand = opened(slots=2, scheduler={"type": "batch", "batch_size": 3}, limits={"trials": 5})
    assert hand.tell() == ["start 0", "start 1", "start 2"]
    assert hand.tell(hand.complete(0)) == []
    assert hand.tell(hand.complete(1)) == []
    assert hand.tell(hand.complete(2)) == ["start 3", "start 4"]  # all that the budget allows
    assert hand.tell(hand.complete(3)) == []
    assert hand.tell(hand.fail(4)) == ["finish budget"]


def test_a_batch_need_not_wait_for_stragglers(opened: Made) -> None:
    hand = opened(slots=9, scheduler={"type": "batch", "batch_size": 3, "min_results": 2})
    hand.tell()
    assert hand.tell(hand.complete(2)) == []
    assert hand.tell(hand.complete(0)) == ["start 3", "start 4", "start 5"]


def test_a_scheduler_says_what_a_trial_is_given(opened: Made) -> None:
    hand = opened(scheduler=component(Sized))
    hand.tell()
    assert [record.resources for record in hand.search.table.records] == [Resources(cpu=1), Resources(cpu=2)]


class Sized(Scheduler):
    def allocate_resources(self, trial: Any) -> Resources:
        return Resources(cpu=trial.number + 1)


def test_the_same_seed_gives_the_same_trials_in_another_process(path: Path) -> None:
    script = """
import json, sys
from pathlib import Path
from tests.search.by_hand import ByHand
hand = ByHand(Path(sys.argv[1]), slots=9, seed=7)
hand.open()
hand.tell()
print(json.dumps(hand.params))
"""
    told = [
        subprocess.run(
            [sys.executable, "-c", script, str(path.with_name(hash_seed))],
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": hash_seed},
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert told[0] == told[1]
    assert len(json.loads(told[0])) == 9


def test_without_a_seed_the_name_of_the_sweep_is_one(tmp_path: Path) -> None:
    def params(name: str, **definition: Any) -> list[dict[str, Any]]:
        hand = ByHand(tmp_path / name, **definition)
        hand.open()
        hand.tell()
        return hand.params

    assert params("a") == params("b")  # both are the sweep "sweep"
    assert params("c", seed=0) != params("d")


# --- the budget ---


def test_the_last_trials_of_a_budget_end_as_usual(opened: Made) -> None:
    hand = opened(slots=2, limits={"trials": 3})
    hand.tell()
    assert hand.tell(hand.complete(0), hand.complete(1)) == ["start 2"]
    assert hand.tell(hand.complete(2)) == ["finish budget"]
    assert hand.tell() == []


def test_retries_are_no_trials_of_the_budget(opened: Made) -> None:
    hand = opened(slots=1, limits={"trials": 2}, retry={"max_attempts": 2, "initial": 0})
    hand.tell()
    assert hand.tell(hand.fail(0)) == ["retry 0 try 2"]
    assert hand.tell(hand.complete(0)) == ["start 1"]
    assert hand.tell(hand.complete(1)) == ["finish budget"]


def test_a_budget_lowered_below_what_is_done_lets_running_trials_end(opened: Made) -> None:
    hand = opened(slots=2, limits={"trials": 9})
    hand.tell()
    hand.tell(hand.complete(0))
    assert hand.tell(hand.control(1, trials=1)) == []
    assert hand.tell(hand.complete(1)) == []
    assert hand.tell(hand.complete(2)) == ["finish budget"]


def test_a_budget_raised_after_the_end_revokes_it(opened: Made) -> None:
    hand = opened(slots=1, limits={"trials": 1})
    hand.tell()
    assert hand.tell(hand.complete(0)) == ["finish budget"]
    assert hand.tell(hand.control(1, trials=2)) == ["start 1"]
    assert hand.search.table.finish is None
    assert hand.tell(hand.complete(1)) == ["finish budget"]


def test_when_the_time_is_up_running_trials_are_stopped(opened: Made) -> None:
    hand = opened(slots=2, limits={"seconds": 10})
    assert hand.search.next_tick_s == 10
    hand.tell()
    hand.tell(hand.complete(0))
    assert hand.search.next_tick_s == 9
    assert hand.tell(hand.tick(9)) == ["stop 1", "stop 2"]
    assert hand.search.next_tick_s is None  # a host that asks on and on would record tick after tick
    assert hand.tell(hand.tick()) == []
    assert hand.tell(hand.end(1)) == []
    assert hand.tell(hand.complete(2)) == ["finish time"]
    assert hand.search.next_tick_s is None


def test_more_time_revokes_the_end_of_it(opened: Made) -> None:
    hand = opened(slots=1, limits={"seconds": 1})
    hand.tell()
    assert hand.tell(hand.complete(0)) == ["finish time"]
    assert hand.tell(hand.control(1, hours=1)) == ["start 1"]
    assert hand.search.next_tick_s == 3598


def test_a_value_as_good_as_the_target_ends_the_sweep(opened: Made) -> None:
    hand = opened(slots=3, limits={"target": 0.9})
    hand.tell()
    assert hand.tell(hand.complete(0, acc=0.89)) == ["start 3"]
    assert hand.tell(hand.report(1, step=1, acc=0.9)) == ["stop 1", "stop 2", "stop 3"]
    assert hand.tell(hand.end(1), hand.end(2)) == []
    assert hand.tell(hand.end(3)) == ["finish target"]
    assert hand.search.table.best is hand.search.table.records[1]


def test_a_target_of_a_cost_is_reached_from_above(opened: Made) -> None:
    hand = opened(slots=1, metric="loss", limits={"target": 0.1})
    hand.tell()
    assert hand.tell(hand.complete(0, metrics={"loss": 0.2})) == ["start 1"]
    assert hand.tell(hand.complete(1, metrics={"loss": 0.1})) == ["finish target"]


def test_without_a_budget_the_scheduler_says_how_many_trials_there_are(opened: Made) -> None:
    hand = opened(slots=9, scheduler=component(Three))
    assert hand.tell() == ["start 0", "start 1", "start 2"]
    assert hand.tell(hand.control(1, hours=1))[0] == "start 3"  # any budget takes its place


class Three(Scheduler):
    @property
    def default_trials(self) -> int:
        return 3


def test_an_optimizer_without_further_suggestions_ends_the_sweep(opened: Made) -> None:
    hand = opened(slots=2, optimizer=component(Climber, tries=3))
    hand.tell()
    assert hand.tell(hand.complete(0)) == ["start 2"]
    assert hand.tell(hand.complete(1)) == []
    assert hand.tell(hand.complete(2)) == ["finish exhausted"]


def test_stop_ends_running_trials_and_the_sweep(opened: Made) -> None:
    hand = opened()
    hand.tell()
    assert hand.tell(hand.control(1, stop=True)) == ["stop 0", "stop 1"]
    assert hand.tell(hand.control(1, stop=True)) == []
    assert hand.tell(hand.end(0), hand.complete(1)) == ["finish stopped"]
    assert hand.search.table.counts == Counts(started=2, stopped=1, completed=1)


def test_stop_before_the_first_trial(opened: Made) -> None:
    hand = opened()
    assert hand.tell(hand.control(1, stop=True)) == ["finish stopped"]
