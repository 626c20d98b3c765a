import json
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from examples import digits
from metta.sweep import Trial
from metta.sweep.contracts.errors import TrialInterrupted
from metta.sweep.contracts.spaces import SearchSpace

EPOCHS = 5
ADAM = {"learning_rate": 0.003, "hidden": 32, "batch": 64, "alpha": 1e-4, "solver": "adam"}
SGD = ADAM | {"learning_rate": 0.03, "solver": "sgd", "sgd.momentum": 0.8}


class Report(NamedTuple):
    epoch: int
    accuracy: float
    checkpoint: Path


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "EPOCHS", EPOCHS)


def train(params: dict[str, Any], folder: Path, last: int | None = None, **more: Any) -> list[Report]:
    """What training reports until it has ended, or is interrupted after its last epoch."""
    reports: list[Report] = []

    def record(step: int, metrics: dict[str, float], checkpoint: Path | None) -> None:
        assert checkpoint
        reports.append(Report(step, metrics["accuracy"], checkpoint))
        if step == last:
            raise TrialInterrupted

    with suppress(TrialInterrupted):
        digits.train(Trial(params, seed=7, folder=folder, report_to=record, **more))
    return reports


@pytest.mark.parametrize("params", [ADAM, SGD], ids=["adam", "sgd"])
def test_training_that_was_interrupted_goes_on_as_if_nothing_had_happened(
    params: dict[str, Any], tmp_path: Path
) -> None:
    undisturbed = train(params, tmp_path / "undisturbed")
    before = train(params, tmp_path / "before", last=2)
    after = train(params, tmp_path / "after", resume_from=before[-1].checkpoint)
    assert [report.epoch for report in before] == [1, 2]
    assert [report.epoch for report in after] == [3, 4, 5]
    assert [report.accuracy for report in before + after] == [report.accuracy for report in undisturbed]


def test_training_learns(tmp_path: Path) -> None:
    reports = train(ADAM, tmp_path)
    assert reports[-1].accuracy > 0.8
    assert reports[-1].accuracy > reports[0].accuracy


def test_the_same_sweep_in_json_has_the_same_space() -> None:
    written = json.loads((Path(digits.__file__).parent / "sweep.json").read_text("utf-8"))
    assert SearchSpace.from_json(written["search_space"]) == SearchSpace(digits.SPACE)
