from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from examples import curriculum as example
from examples.curriculum import Reading, digits, tilted, train
from metta.sweep import Trial
from metta.sweep.contracts.errors import TrialInterrupted
from metta.sweep.experiments import Task

EPOCHS = 3
PARAMS = {"learning_rate": 0.003, "alpha": 1e-4, "batch": 64, "init_from": None, "task.degrees": 0}


class Report(NamedTuple):
    accuracy: float
    checkpoint: Path


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(example, "EPOCHS", EPOCHS)


def trained(params: dict[str, Any], folder: Path, last: int | None = None, **more: Any) -> list[Report]:
    """What training reports until it has ended, or is interrupted after its last epoch."""
    reports: list[Report] = []

    def record(step: int, metrics: dict[str, float], checkpoint: Path | None) -> None:
        assert checkpoint
        reports.append(Report(metrics["accuracy"], checkpoint))
        if step == last:
            raise TrialInterrupted

    with suppress(TrialInterrupted):
        train(Trial(params, seed=7, folder=folder, report_to=record, **more))
    return reports


def test_images_are_tilted_to_both_sides() -> None:
    upright, _ = digits(0)
    assert np.array_equal(tilted(upright.images, 0), upright.images)
    some = tilted(upright.images, 30)
    changed = np.abs(some - upright.images).max(axis=1) > 0.01
    assert [bool(changed[n]) for n in range(7)] == [True, True, True, False, True, True, True]


def test_training_that_was_interrupted_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    undisturbed = trained(PARAMS, tmp_path / "undisturbed")
    before = trained(PARAMS, tmp_path / "before", last=1)
    after = trained(PARAMS, tmp_path / "after", resume_from=before[-1].checkpoint)
    assert [r.accuracy for r in before + after] == [r.accuracy for r in undisturbed]


def test_weights_that_were_handed_on_are_a_good_beginning(tmp_path: Path) -> None:
    upright = trained(PARAMS, tmp_path / "upright")
    harder = PARAMS | {"task.degrees": 30}
    [anew, *_] = trained(harder, tmp_path / "anew")
    handed_on = harder | {"init_from": str(upright[-1].checkpoint)}
    [again, *_] = trained(handed_on, tmp_path / "again")
    assert again.accuracy > anew.accuracy + 0.05


def test_tasks_are_mastered_one_after_the_other(project: Path) -> None:
    tasks = [Task(name="upright", params={"degrees": 0}), Task(name="tilted", params={"degrees": 15})]
    ctx = Reading(tasks=tasks, mastery=0.85, trials_per_task=4).run_local()
    assert ctx.is_mastered
    assert [*ctx.results] == ["upright", "tilted"]
    assert all(Path(str(result.checkpoint)).is_file() for result in ctx.results.values())


def test_the_example_has_four_tasks_that_get_harder() -> None:
    degrees = [task.params["degrees"] for task in Reading().tasks]
    assert degrees == sorted(degrees) == [0, 15, 30, 45]
