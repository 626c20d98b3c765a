from pathlib import Path
from time import sleep

import pytest

from benchmarks import training
from benchmarks.marks import Mark, marks_of
from benchmarks.utilisation import utilisation
from metta.sweep import Trial


def test_slots_that_are_never_idle_are_used_wholly() -> None:
    marks = [Mark(0, 0.0, 1.0), Mark(1, 0.0, 2.0), Mark(2, 1.0, 3.0), Mark(3, 2.0, 4.0), Mark(4, 3.0, 5.0)]
    used = utilisation(marks, slots=2)
    assert used == (3, 2.0, 1.0, 0.0)


def test_time_between_trials_and_between_epochs_is_lost() -> None:
    marks = [Mark(0, 0.0, 0.9), Mark(1, 0.0, 2.0), Mark(0, 1.0, 1.9), Mark(2, 2.0, 3.0), Mark(3, 2.0, 3.0)]
    used = utilisation(marks, slots=2)
    assert used.share == pytest.approx(3.8 / 4)
    assert used.lost_s == pytest.approx(0.2 / 2)


def test_the_start_and_the_tail_are_left_out() -> None:
    full = [Mark(0, 5.0, 6.0), Mark(1, 5.0, 6.0), Mark(2, 6.0, 7.0), Mark(3, 6.0, 7.0)]
    late_start = Mark(4, 0.0, 5.0)
    tail = Mark(2, 8.0, 20.0)
    assert utilisation([late_start, *full, tail], slots=2).share == 1.0


def test_training_goes_on_from_its_checkpoint_and_marks_all_but_its_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "EPOCHS", 2)
    steps = []

    def report(step: int, metrics: dict[str, float], checkpoint: Path | None) -> None:
        sleep(0.2)
        steps.append((step, checkpoint))

    params = {"learning_rate": 0.001, "alpha": 1e-4}
    marks = marks_of(lambda: training.train_safely(Trial(params, 3, folder=tmp_path, report_to=report)))
    assert [step for step, _ in steps] == [1, 2]
    assert [mark.trial for mark in marks] == [3, 3]
    assert marks[1].began - marks[0].ended >= 0.2

    resumed = Trial(params, 3, folder=tmp_path, report_to=report, resume_from=steps[0][1])
    marks_of(lambda: training.train_safely(resumed))
    assert [step for step, _ in steps] == [1, 2, 2]
