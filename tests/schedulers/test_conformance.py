"""What holds for every scheduler: each one that is registered is tested here."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.contracts.attempts import Code
from metta.sweep.contracts.budgets import Budget, Control
from metta.sweep.contracts.components import ComponentSpec, create, load
from metta.sweep.contracts.decisions import Resume, Stop
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.events import Event
from metta.sweep.contracts.sweeps import SessionInput, SweepSpec
from metta.sweep.schedulers.base import Scheduler, SlotFree, Verdict
from metta.sweep.schedulers.registry import SCHEDULERS
from metta.sweep.search.host import host
from metta.sweep.stores.files import FileStore
from tests.schedulers.lives import SPEC, Life, reborn

each = pytest.mark.parametrize("name", sorted(SCHEDULERS))
often = pytest.mark.parametrize("seed", range(5))


def born(name: str) -> Scheduler:
    """A registered scheduler as a search makes it."""
    scheduler = create(Scheduler, ComponentSpec(type=name))
    scheduler.setup(SPEC.search_space, seed=7)
    return scheduler


@each
def test_its_class_is_where_the_registry_says(name: str) -> None:
    kind = load(SCHEDULERS[name])
    assert issubclass(kind, Scheduler)
    assert kind().spec() == ComponentSpec(type=name)


@each
@often
def test_equal_facts_give_equal_verdicts(name: str, seed: int) -> None:
    one, other = born(name), born(name)

    def decide(event: Event | SlotFree) -> Sequence[Verdict]:
        verdicts = one.decide(event, life.table)
        assert other.decide(event, life.table) == verdicts
        return verdicts

    life = Life(decide, seed=seed)
    life.live()


@each
@often
def test_a_new_object_that_is_told_what_is_recorded_goes_on_like_the_old_one(name: str, seed: int) -> None:
    old = born(name)

    def decide(event: Event | SlotFree) -> Sequence[Verdict]:
        verdicts = old.decide(event, life.table)
        if isinstance(event, SlotFree):
            new = born(name)
            assert new.decide(event, reborn(new, life.recorded)) == verdicts
        return verdicts

    life = Life(decide, seed=seed)
    life.live()


@each
@often
def test_asking_for_slots_changes_nothing(name: str, seed: int) -> None:
    scheduler = born(name)

    def decide(event: Event | SlotFree) -> Sequence[Verdict]:
        for _ in range(2):
            before = scheduler.decide(SlotFree(2), life.table)
            assert scheduler.decide(SlotFree(2), life.table) == before
        return scheduler.decide(event, life.table)

    life = Life(decide, seed=seed)
    life.live()


@each
@often
def test_verdicts_speak_of_a_trial_once_and_of_what_can_be_done(name: str, seed: int) -> None:
    scheduler = born(name)

    def decide(event: Event | SlotFree) -> Sequence[Verdict]:
        verdicts = scheduler.decide(event, life.table)
        resumed = [v.trial for v in verdicts if isinstance(v, Resume)]
        stopped = [v.trial for v in verdicts if isinstance(v, Stop)]
        assert len({*resumed, *stopped}) == len(resumed) + len(stopped)
        assert all(life.table.records[trial].status == "paused" for trial in resumed)
        assert all(life.table.records[trial].status in ("running", "paused") for trial in stopped)
        return verdicts

    life = Life(decide, seed=seed)
    life.live()


@each
@often
@pytest.mark.parametrize("slots", [1, 2, 7])
def test_a_sweep_does_not_come_to_rest_before_its_budget_is_used_up(name: str, slots: int, seed: int) -> None:
    scheduler = born(name)
    life = Life(lambda event: scheduler.decide(event, life.table), slots, trials=25, seed=seed)
    life.live()
    assert len(life.table.records) == 25
    assert not life.table.running


@each
def test_it_takes_a_limit_of_parallel_trials(name: str) -> None:
    assert born(name).max_parallel is None
    assert create(Scheduler, ComponentSpec(type=name, options={"max_parallel": 3})).max_parallel == 3


@each
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "many"])
def test_a_limit_that_is_no_count_is_refused(name: str, value: Any) -> None:
    with pytest.raises(
        DefinitionError, match=f"max_parallel has to be a whole number of at least 1, got {value!r}"
    ):
        create(Scheduler, ComponentSpec(type=name, options={"max_parallel": value}))


TRAIN = """
from pathlib import Path
from time import sleep, time

def train(trial):
    began = time()
    sleep(0.03)
    Path(f"{trial.number}.span").write_text(f"{began} {time()}")
    return {"loss": 1.0}
"""


@each
@pytest.mark.parametrize(("limit", "most"), [(1, 1), (None, 2)])
def test_its_limit_holds_in_a_sweep(project: Path, name: str, limit: int | None, most: int) -> None:
    (project / "tasks.py").write_text(TRAIN, "utf-8")
    definition = {
        "objective": "tasks.py:train",
        "search_space": {"x": {"type": "uniform", "low": 0, "high": 1}},
        "scheduler": {"type": name, "max_parallel": limit},
        "executor": {"type": "local", "max_parallel": 2},
    }
    control = Control(budget=Budget(trials=6))
    session = SessionInput(sweep_id="limited", spec=SweepSpec.model_validate(definition), control=control)
    code = Code(objective="", cwd=str(project))
    result = host(session, FileStore(project / ".metta-sweep"), code).run(control)
    assert result
    assert result.progress.counts.completed == 6
    spans = [tuple(map(float, file.read_text("utf-8").split())) for file in project.glob("*.span")]
    assert max(sum(began <= at < ended for began, ended in spans) for at, _ in spans) <= most
