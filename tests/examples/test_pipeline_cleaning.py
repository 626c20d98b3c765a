import csv
import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_diabetes

from examples import pipeline_cleaning as example
from examples.pipeline_cleaning import MAX_GAPS, NAMES, Report, Table, gaps_in, pipeline
from metta.sweep import StageFailed
from metta.sweep.contracts.shelves import Folder
from metta.sweep.pipeline.hooks import HOOKS
from metta.sweep.pipeline.local import LocalRun, run_local

VALUES, TARGET = map(np.asarray, load_diabetes(return_X_y=True, scaled=False))


@pytest.fixture
def run(tmp_path: Path) -> Callable[[], LocalRun]:
    return lambda: run_local(pipeline.definition, None, Folder(tmp_path))


def kept(file: Path) -> Table:
    """The table of a file that says its class."""
    [kind, fields] = json.loads(file.read_text("utf-8"))["$named"]
    assert kind.endswith(":Table")
    return Table(**fields)


def statuses(run: LocalRun) -> dict[str, str]:
    return {stage: outcome.status for stage, outcome in run.outcomes.items()}


def test_every_hook_there_is_has_its_place() -> None:
    said = {name for step in pipeline.plan().steps if step.kind == "stage" for name in step.hooks}
    assert said == HOOKS.keys()


def test_a_table_is_cleaned_and_a_model_fitted(
    run: Callable[[], LocalRun], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    done = run()
    assert type(done.value) is Report
    assert done.value.r2 > 0.4
    assert set(statuses(done).values()) == {"done"}
    assert not any(outcome.failed_hooks for outcome in done.outcomes.values())

    raw, filled = kept(tmp_path / "diabetes.json"), kept(tmp_path / "checkpoints/fill.json")
    assert gaps_in(raw) > 100  # archive: the table as it came
    assert max(np.nanmax(example.values_of(raw), axis=0)) > 10_000
    assert gaps_in(filled) == filled.gaps == 0  # checkpoint
    assert np.max(example.values_of(filled)) < 1_000
    assert len(raw.rows) > len(filled.rows) == done.value.rows  # filter
    assert filled.rows == [[round(value or 0, 4) for value in row] for row in filled.rows]  # transform

    [names, *rows] = csv.reader((tmp_path / "diabetes.csv").read_text("utf-8").splitlines())  # serialize
    assert names == NAMES
    assert np.allclose(np.array(rows, dtype=float).std(axis=0), 1)

    outcomes = done.outcomes
    assert outcomes["tame"].metrics["gaps"] > outcomes["load"].metrics["gaps"]
    assert outcomes["fit"].profile
    assert outcomes["fit"].profile.wall_s > 0
    for told in ("load: 442 rows", "first row: [", "looking for wild values in age", "r2 0."):
        assert told in caplog.text  # log, debug, before, after


def test_a_second_run_takes_what_was_filled_from_the_cache(run: Callable[[], LocalRun]) -> None:
    first, second = run(), run()
    assert statuses(second) == statuses(first) | {"fill": "cached"}
    assert second.value == first.value


def test_other_neighbours_are_another_input(
    run: Callable[[], LocalRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    run()
    monkeypatch.setattr(example, "NEIGHBOURS", 2)
    assert statuses(run())["fill"] == "done"


class IdleImputer:
    """Fills nothing."""

    def __init__(self, **_: int) -> None: ...

    def fit_transform(self, values: object) -> object:
        return values


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [("NEIGHBOURS", 0, "must be an int in the range"), ("KNNImputer", IdleImputer, "validate: it refused")],
    ids=["raised", "refused"],
)
def test_medians_fill_the_gaps_when_neighbours_do_not(
    name: str,
    value: object,
    reason: str,
    run: Callable[[], LocalRun],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(example, name, value)
    done = run()
    assert statuses(done)["fill"] == "recovered"
    assert done.value.r2 > 0.3
    assert reason in caplog.text


def test_a_table_without_gaps_is_not_filled(
    run: Callable[[], LocalRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(example, "LOST", 0)
    monkeypatch.setattr(example, "WILD", 0)
    done = run()
    assert statuses(done)["fill"] == "skipped"
    assert done.value.rows == 442


def test_a_source_that_is_away_for_a_moment_is_asked_again(
    run: Callable[[], LocalRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[object] = [OSError("away"), OSError("away"), (VALUES, TARGET)]

    def load(**_: bool) -> object:
        if isinstance(answer := answers.pop(0), OSError):
            raise answer
        return answer

    monkeypatch.setattr(example, "load_diabetes", load)
    assert run().outcomes["load"].attempts == 3
    assert answers == []


def test_few_rows_are_warned_of(
    run: Callable[[], LocalRun], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(example, "LOST", 0.25)
    run()
    assert "rows are left" in caplog.text


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        (
            "load_diabetes",
            (VALUES, -TARGET),
            "load failed: schema: .*target: 0: input should be greater than 0",
        ),
        ("load_diabetes", (VALUES, TARGET[1:]), "tame failed: assert_fn: AssertionError"),
        ("cross_val_score", np.zeros(5), "fit failed: validate: it refused Report"),
    ],
    ids=["schema", "assert_fn", "validate"],
)
def test_what_makes_no_sense_is_refused(
    name: str, given: object, message: str, run: Callable[[], LocalRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(example, name, lambda *_, **__: given)
    with pytest.raises(StageFailed, match=message):
        run()


def test_a_row_with_too_many_gaps_is_left_out() -> None:
    gap: list[float | None] = [None]
    rows = [gap * n + [1.0] * (9 - n) for n in range(9)]
    table = example.without_sparse_rows(Table(NAMES, rows, [float(n) for n in range(9)]))
    assert table.target == [float(n) for n in range(MAX_GAPS + 1)]
    assert table.rows == rows[: MAX_GAPS + 1]
