"""Schedulers of users: one method is enough, for ending trials, for sizing them, or for everything."""

import pytest

from metta.sweep import Resources, Trial, Uniform
from metta.sweep.contracts.decisions import Resume, Start
from metta.sweep.contracts.events import Event, Reported
from metta.sweep.contracts.records import TrialRecord
from metta.sweep.experiments import SweepExperiment
from metta.sweep.schedulers import Scheduler
from metta.sweep.schedulers.base import New, SlotFree, Verdict, View
from metta.sweep.stores.trials import TrialTable

pytestmark = pytest.mark.usefixtures("project")


class StopsEarly(Scheduler):
    def should_stop(self, trial: TrialRecord) -> bool:
        return trial.number % 2 == 1 and trial.step == 2


class SizesByNumber(Scheduler):
    def allocate_resources(self, trial: TrialRecord) -> Resources:
        return Resources(cpu=1 + trial.number % 2)


class Lenient(Scheduler):
    """A constructor of its own that calls no other one."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold

    def should_stop(self, trial: TrialRecord) -> bool:
        return trial.metrics["loss"] > self.threshold


class Rungs(Scheduler):
    """Full control: pauses two trials after two steps; the better one goes on, and so does a changed copy."""

    def decide(self, event: Event | SlotFree, view: View) -> list[Verdict]:
        if not isinstance(event, SlotFree):
            return []
        paused = sorted((r for r in view.records if r.status == "paused"), key=lambda r: view.value(r) or 0)
        if len(paused) == 2:
            best = paused[0]
            assert self.search_space
            params = {"x": best.params["x"], "names": [*self.search_space], "seed": self.seed}
            copy = New(params=params, parent=best.number, checkpoint_from=best.checkpoint)
            return [Resume(trial=best.number, segment=best.segment + 1), copy]
        return [New(until_step=2)] if len(view.records) < 2 else []


def train(trial: Trial) -> None:
    begun = int(trial.resume_from.read_text("utf-8")) if trial.resume_from else 0
    for step in range(begun + 1, 5):
        checkpoint = trial.checkpoint_dir / f"{step}.txt"
        checkpoint.write_text(str(step), "utf-8")
        trial.report(
            step,
            loss=trial.params["x"] + step,
            cpu=trial.resources.cpu,
            begun=begun,
            checkpoint=checkpoint,
        )


def swept(scheduler: Scheduler) -> list[TrialRecord]:
    sweep = SweepExperiment(
        train, {"x": Uniform(0, 1)}, scheduler=scheduler, name="mine", metric="loss", seed=1
    )
    return sweep.run(4, debug=True).trials


def test_a_rule_that_only_ends_trials_is_enough() -> None:
    trials = swept(StopsEarly())
    assert [(trial.status, trial.step) for trial in trials] == [
        ("completed", 4),
        ("stopped", 2),
        ("completed", 4),
        ("stopped", 2),
    ]


def test_a_rule_that_only_sizes_trials_is_enough() -> None:
    assert [trial.metrics["cpu"] for trial in swept(SizesByNumber())] == [1, 2, 1, 2]


def test_a_constructor_of_its_own_need_not_call_another() -> None:
    trials = swept(Lenient(threshold=2.5))
    assert {trial.status for trial in trials} == {"stopped"}
    assert all(trial.metrics["loss"] > 2.5 for trial in trials)
    assert Lenient(2.5).spec().options == {"threshold": 2.5}


def test_full_control_pauses_resumes_and_copies() -> None:
    trials = swept(Rungs())
    best, worst = sorted(trials[:2], key=lambda trial: trial.params["x"])
    assert (best.status, best.segment, best.step, best.metrics["begun"]) == ("completed", 1, 4, 2)
    assert (worst.status, worst.segment, worst.step) == ("paused", 0, 2)
    [copy] = trials[2:]
    assert copy.params == {"x": best.params["x"], "names": ["x"], "seed": 1}
    assert (copy.status, copy.parent, copy.metrics["begun"]) == ("completed", best.number, 2)


def test_by_default_a_scheduler_fills_slots_and_stops_nothing() -> None:
    class Plain(Scheduler): ...

    table = TrialTable()
    table.carry(Start(trial=0, params={}, seed=0))
    plain = Plain()
    assert plain.decide(SlotFree(2), table) == [New(), New()]
    assert plain.decide(Reported(at=0, trial=0, seq=0, step=1, metrics={}), table) == []
    assert plain.allocate_resources(table.records[0]) is None
    assert plain.default_trials is None
