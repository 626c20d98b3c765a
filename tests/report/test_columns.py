import json
from datetime import UTC, datetime
from typing import Any

import pytest

from metta.sweep.contracts.distributions import TYPES, Distribution
from metta.sweep.contracts.spaces import SearchSpace
from metta.sweep.report.columns import Column, param_column, text_of, time_of
from metta.sweep.report.trials import trial_rows
from tests.report.varied import CNN, MLP, SPACE, varied
from tests.stores.stories import Story


def distribution(**json_form: Any) -> Distribution:
    return SearchSpace.from_json({"x": json_form})["x"]


@pytest.mark.parametrize(
    ("of", "kind"),
    [
        ({"type": "uniform", "low": 0, "high": 1}, "number"),
        ({"type": "uniform", "low": 0, "high": 4, "step": 2}, "number"),
        ({"type": "log_uniform", "low": 1, "high": 10}, "number"),
        ({"type": "logit_uniform", "low": 0.1, "high": 0.9}, "number"),
        ({"type": "normal", "mean": 0, "sd": 1}, "number"),
        ({"type": "log_normal", "mean": 0, "sd": 1}, "number"),
        ({"type": "integer", "low": 1, "high": 9}, "integer"),
        ({"type": "integer", "low": 0, "high": 2**70}, "number"),
        ({"type": "pow2", "low": 1, "high": 8}, "integer"),
        ({"type": "choice", "values": ["a", "b"]}, "category"),
        ({"type": "choice", "values": ["a", None]}, "category"),
        ({"type": "choice", "values": [None]}, "json"),
        ({"type": "choice", "values": [1, 2, None]}, "integer"),
        ({"type": "choice", "values": [1, 2.5]}, "number"),
        ({"type": "choice", "values": [True, False]}, "flag"),
        ({"type": "choice", "values": [True, 1]}, "json"),
        ({"type": "choice", "values": ["a", 1]}, "json"),
        ({"type": "choice", "values": [[32], [64, 32]]}, "json"),
        ({"type": "ordinal", "values": ["s", "l"]}, "category"),
        ({"type": "constant", "value": 3}, "integer"),
        ({"type": "constant", "value": {"a": 1}}, "json"),
    ],
)
def test_the_kind_of_a_parameter_follows_from_its_distribution_alone(of: dict[str, Any], kind: str) -> None:
    assert param_column("x", distribution(**of)).kind == kind


def test_every_distribution_has_a_kind() -> None:
    tried = {"uniform", "log_uniform", "logit_uniform", "normal", "log_normal", "integer", "pow2"}
    assert set(TYPES) == tried | {"choice", "ordinal", "constant"}


def test_a_parameter_that_no_space_names_may_be_anything() -> None:
    assert param_column("x", None).kind == "json"


def test_columns_are_those_of_the_space_whether_or_not_a_trial_has_them() -> None:
    titles = [column.title for column in trial_rows(varied()).columns()]
    assert titles == [
        "trial",
        "status",
        "value",
        "metrics.accuracy",
        "metrics.cost",
        "step",
        *(f"params.{name}" for name in SPACE),
        "seconds",
        "cost",
        "seed",
        "segment",
        "attempt",
        "failed_attempts",
        "parent",
        "failure.kind",
        "failure.message",
        "checkpoint",
    ]
    empty = [column.title for column in trial_rows(Story(search_space=SPACE).table).columns()]
    assert empty == [title for title in titles if not title.startswith("metrics.")]


def test_the_metric_that_counts_comes_first() -> None:
    story = Story(metric="accuracy")
    story.start()
    story.complete(0, seconds=1.0, accuracy=0.5, cost=2.0)
    titles = [column.title for column in trial_rows(story.table).columns()]
    assert titles[2:6] == ["value", "metrics.accuracy", "metrics.seconds", "metrics.cost"]


def test_rows_tell_what_became_of_each_trial() -> None:
    completed, failed, infeasible, retried, stopped, paused, running = trial_rows(varied()).read()
    assert completed["params"] == CNN
    assert failed["params"] == MLP
    assert (completed["value"], completed["cost"], completed["step"]) == (0.9, 12.5, 2)
    assert failed["value"] is None  # what it reported before must not win
    assert (failed["metrics"], failed["step"]) == ({"accuracy": 0.99}, 1)
    assert infeasible["failure"] == {"kind": "infeasible", "message": "does not fit into memory"}
    assert (retried["attempt"], retried["failed_attempts"], retried["failure"]) == (2, 1, None)
    assert (retried["seconds"], retried["cost"]) == (4.0, 4.0)
    assert (stopped["status"], stopped["value"], stopped["parent"]) == ("stopped", 0.4, 0)
    assert (paused["status"], paused["checkpoint"]) == ("paused", "trials/5/seg-0/try-1/checkpoints/1")
    assert (running["status"], running["value"], running["step"]) == ("running", None, None)


def test_rows_are_plain_json() -> None:
    rows = list(trial_rows(varied()).read())
    assert json.loads(json.dumps(rows)) == rows


def test_a_cell_is_empty_where_its_group_is_missing() -> None:
    column = Column("kind", "text", "failure")
    assert column.of({"failure": None}) is None
    assert column.of({"failure": {}}) is None
    assert column.of({"failure": {"kind": "user"}}) == "user"


def test_times_are_texts_of_one_length() -> None:
    assert text_of(time_of(0)) == "1970-01-01T00:00:00.000000+00:00"
    assert text_of(datetime(2026, 1, 2, 3, 4, 5, 6, UTC)) == "2026-01-02T03:04:05.000006+00:00"
