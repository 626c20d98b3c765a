"""Trials: what an objective gets, and trials made by hand in tests."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.contracts.errors import BadMetric, DefinitionError
from metta.sweep.contracts.trials import Resources, Trial, current_trial, running


class Index:
    """What numpy's integers have in common with Python's."""

    def __index__(self) -> int:
        return 3


@pytest.mark.parametrize(
    ("params", "tree"),
    [
        ({}, {}),
        ({"lr": 1}, {"lr": 1}),
        ({"a.b.c": 1, "a.d": 2, "e": 3}, {"a": {"b": {"c": 1}, "d": 2}, "e": 3}),
        ({"model": "cnn", "model.depth": 3}, {"model": {"": "cnn", "depth": 3}}),
        ({"model.depth": 3, "model": "cnn"}, {"model": {"depth": 3, "": "cnn"}}),
        ({"a.b": 1, "a.b.c": 2, "a": 3}, {"a": {"b": {"": 1, "c": 2}, "": 3}}),
        ({"a": {"b": 1}}, {"a": {"b": 1}}),
    ],
)
def test_parameters_are_nested_at_their_dots(params: dict[str, Any], tree: dict[str, Any]) -> None:
    trial = Trial(params)
    assert trial.nested() == tree
    assert trial.params == params


def test_a_tree_is_a_copy_at_each_call() -> None:
    trial = Trial({"a.b": 1})
    trial.nested()["a"]["b"] = 2
    assert trial.nested() == {"a": {"b": 1}}
    assert trial.params == {"a.b": 1}


def test_reports_of_a_trial_made_by_hand_are_kept() -> None:
    trial = Trial({})
    trial.report(step=1, loss=1)
    trial.report(2, loss=0.5, accuracy=0.9, checkpoint="model.pt")
    assert trial.reports == [(1, {"loss": 1.0}), (2, {"loss": 0.5, "accuracy": 0.9})]


def test_a_step_that_is_not_above_the_last_one_is_ignored_by_hand_as_in_a_sweep() -> None:
    trial = Trial({})
    for step, loss in [(1, 0.9), (3, 0.8), (3, 0.1), (2, 0.1), (4, 0.7)]:
        trial.report(step, loss=loss)
    assert trial.reports == [(1, {"loss": 0.9}), (3, {"loss": 0.8}), (4, {"loss": 0.7})]


def test_reports_go_where_a_sweep_wants_them() -> None:
    reports: list[object] = []
    trial = Trial({}, report_to=lambda *report: reports.append(report))
    step: Any = Index()
    trial.report(step, loss=1, checkpoint="model.pt")
    trial.report(4, loss=0.5)
    assert reports == [(3, {"loss": 1.0}, Path("model.pt")), (4, {"loss": 0.5}, None)]
    assert trial.reports == []


@pytest.mark.parametrize("step", [1.5, 2.0, "3", None])
def test_a_step_is_a_whole_number(step: Any) -> None:
    with pytest.raises(TypeError, match=r"step has to be a whole number, got (1\.5|2\.0|'3'|None)"):
        Trial({}).report(step, loss=1)


@pytest.mark.parametrize("metrics", [{}, {"loss": float("nan")}, {"loss": "low"}])
def test_a_report_without_finite_numbers_is_refused(metrics: dict[str, Any]) -> None:
    trial = Trial({})
    with pytest.raises(BadMetric):
        trial.report(1, **metrics)
    assert trial.reports == []


def test_the_folder_for_checkpoints_exists(tmp_path: Path) -> None:
    folder = Trial({}, folder=tmp_path / "try-1").checkpoint_dir
    assert folder.is_dir()
    assert folder.is_relative_to(tmp_path)


def test_a_trial_without_a_folder_says_how_to_give_one() -> None:
    with pytest.raises(RuntimeError, match=r"Trial\(\.\.\., folder=tmp_path\)"):
        _ = Trial({}).checkpoint_dir


def test_a_trial_does_not_change_what_it_was_made_from() -> None:
    params = {"x": 1}
    Trial(params).params["x"] = 2
    assert params == {"x": 1}


def test_the_current_trial_is_the_innermost_one_that_runs() -> None:
    outer, inner = Trial({}, 1), Trial({}, 2)
    with running(outer):
        with suppress(ZeroDivisionError), running(inner):
            assert current_trial() is inner
            raise ZeroDivisionError
        assert current_trial() is outer
    with pytest.raises(RuntimeError, match="no trial runs in this process"):
        current_trial()


def test_all_mistakes_of_resources_are_told() -> None:
    wrong: dict[str, Any] = {"cpus": 2, "gpu": -1, "memory_gib": 0}
    with pytest.raises(DefinitionError) as error:
        Resources(**wrong)
    assert error.value.problems == (
        "cpus is unknown; did you mean cpu?",
        "gpu: input should be greater than or equal to 0, got -1",
        "memory_gib: input should be greater than 0, got 0",
    )
