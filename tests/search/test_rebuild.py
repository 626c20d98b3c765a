"""A ledger that is cut anywhere: who folds it anew goes on as if nothing had happened."""

from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep.client.results import table_of
from metta.sweep.contracts.budgets import Budget, Control
from metta.sweep.contracts.events import Event, Known
from metta.sweep.contracts.failures import Failure
from metta.sweep.stores.ledgers import FileLedger
from metta.sweep.stores.trials import TrialTable
from tests.search.by_hand import ByHand
from tests.search.components import BelowMean, Climber, Exploiter, Halving, component

Definition: TypeAlias = dict[str, Any]

PRIOR = [
    Known(at=0, trial=-3, params={"x": 0.9}, metrics={"acc": 0.4}, source="a"),
    Known(at=0, trial=-2, params={"x": 0.1}, failure=Failure(kind="oom", message="too large"), source="a"),
    Known(at=0, trial=-1, params={"x": 2.0}, metrics={"acc": 9.0}, left_out="x is too large"),
]

DEFINITIONS: dict[str, Definition] = {
    "stateless": {},
    "replayed": {"optimizer": component(Climber)},
    "exhausted": {"optimizer": component(Climber, tries=7)},
    "batches": {
        "optimizer": component(Climber),
        "scheduler": {"type": "batch", "options": {"batch_size": 3, "min_results": 2}},
    },
    "stops": {"scheduler": component(BelowMean)},
    "pauses": {
        "optimizer": component(Climber),
        "scheduler": component(Halving),
        "retry": {"max_attempts": 2, "initial": 0},
    },
    "begun": {"prior": PRIOR, "initial_points": [{"x": 0.25}, {}, {"x": 1}, {}]},
    "begun, and replayed": {
        "prior": PRIOR,
        "initial_points": [{"x": 0.25}, {}, {"x": 1}, {}],
        "optimizer": component(Climber),
        "scheduler": component(Exploiter),
    },
    "begun, and paused": {
        "prior": PRIOR,
        "initial_points": [{}, {"x": 0.5}],
        "optimizer": {"type": "optuna", "options": {"n_startup_trials": 3}},
        "scheduler": component(Halving),
    },
    "grows": {
        "scheduler": component(Halving),
        "resources": {"memory_gib": 1},
        "retry": {"max_attempts": 4, "initial": 0, "on_oom": "grow", "growth": 1.5, "max_memory_gib": 2},
    },
    "children": {
        "optimizer": component(Climber),
        "scheduler": component(Exploiter),
        "retry": {"max_attempts": 2},
    },
}


def something(hand: ByHand, random: Random, past: list[Event]) -> list[Event]:
    """What might happen next: mostly to running trials, at times something late or twice."""
    if not hand.active or random.random() < 0.1:
        return [*random.choices(past, k=2 if past else 0), change(hand, random)]
    count = min(len(hand.active), random.choice([1, 1, 2]))
    return [happening(hand, random, trial) for trial in random.sample([*hand.active], count)]


def change(hand: ByHand, random: Random) -> Event:
    if random.random() < 0.3:
        return hand.tick(random.choice([1, 20]))
    version = hand.search.table.control.version + random.choice([0, 1, 1])
    limits: dict[str, Any] = random.choice(
        [{"trials": random.randint(1, 20)}, {"seconds": 60}, {"target": 0.97}, {}]
    )
    return hand.control(version, stop=random.random() < 0.1, **limits)


def happening(hand: ByHand, random: Random, trial: int) -> Event:
    record = hand.search.table.records[trial]
    step, acc = (record.step or 0) + random.choice([0, 1, 1]), round(random.random(), 2)
    if record.stopping and random.random() < 0.7:
        return hand.end(trial)
    if record.until_step is not None and step >= record.until_step:
        # a pause without a report: its value is that of an earlier one
        return hand.pause(trial, step) if record.metrics else hand.report(trial, step, acc)
    if random.random() < 0.5:
        return hand.report(trial, max(1, step), acc, checkpoint=f"trials/{trial}/c{step}")
    if random.random() < 0.3:
        return hand.fail(trial, random.choice(["user", "infra", "infeasible", "timeout", "oom"]))
    return hand.complete(trial, acc)


def told(table: TrialTable) -> dict[str, Any]:
    """All that a table says."""
    names = ("spec", "control", "epoch", "records", "running", "objective", "finish", "elapsed_s", "at")
    more = ("succeeded", "failed_in_run", "counts", "best", "known", "warnings")
    return {name: getattr(table, name) for name in names + more} | {
        "ranking": table.leaderboard(None),
        "progress": table.progress(),
    }


@pytest.mark.parametrize("name", DEFINITIONS)
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), before=st.integers(0, 25), after=st.integers(0, 15))
def test_a_search_that_is_rebuilt_at_any_chunk_decides_as_the_one_that_lived_on(
    name: str, seed: int, before: int, after: int
) -> None:
    random, past = Random(seed), list[Event]()
    with TemporaryDirectory() as folder:
        lived = ByHand(Path(folder) / "lived.jsonl", slots=3, **DEFINITIONS[name])
        lived.open(trials=12)
        for _ in range(before):
            events = something(lived, random, past)
            lived.tell(*events)
            past += events

        copy = Path(folder) / "rebuilt.jsonl"
        copy.write_bytes((Path(folder) / "lived.jsonl").read_bytes())
        rebuilt = ByHand(copy, slots=3, **DEFINITIONS[name])
        assert told(rebuilt.search.table) == told(lived.search.table)

        rebuilt.now = lived.now
        control = Control(run="the next run", budget=Budget(trials=15))
        assert rebuilt.open(control) == lived.open(control)
        for _ in range(after):
            events = something(lived, random, past)
            assert rebuilt.tell(*events) == lived.tell(*events)
            past += events
        assert copy.read_bytes() == (Path(folder) / "lived.jsonl").read_bytes()
        assert told(rebuilt.search.table) == told(lived.search.table) == told(table_of(FileLedger(copy)))
