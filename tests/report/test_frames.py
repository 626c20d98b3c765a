import sys
from typing import Any

import pandas as pd
import pytest

from metta.sweep import DefinitionError
from metta.sweep.report.frames import trial_frame
from tests.report.varied import SPACE, varied
from tests.stores.stories import Story

DTYPES = {
    "trial": "int64",
    "status": "category",
    "value": "float64",
    "metrics.accuracy": "float64",
    "step": "Int64",
    "params.x": "float64",
    "params.model": "category",
    "params.cnn.depth": "Int64",
    "params.mlp.bias": "boolean",
    "params.layers": "object",
    "params.size": "category",
    "seconds": "float64",
    "cost": "float64",
    "seed": "int64",
    "segment": "int64",
    "attempt": "int64",
    "failed_attempts": "int64",
    "parent": "Int64",
    "failure.kind": "category",
    "failure.message": "string",
    "checkpoint": "string",
}


@pytest.mark.parametrize("empty", [True, False])
def test_types_do_not_depend_on_what_happened(empty: bool) -> None:
    frame = trial_frame(Story(search_space=SPACE, metric="accuracy").table if empty else varied())
    found = {name: str(dtype) for name, dtype in frame.dtypes.items()}
    metrics = {"metrics.accuracy", "metrics.cost"}
    assert {n: t for n, t in found.items() if n not in metrics} == {
        n: t for n, t in DTYPES.items() if n not in metrics
    }
    assert len(frame) == (0 if empty else 7)


def test_absent_parameters_are_missing_and_others_keep_their_values() -> None:
    frame = trial_frame(varied())
    assert frame["params.cnn.depth"].isna().tolist() == [False, True] * 3 + [False]
    assert frame["params.cnn.depth"].dropna().tolist() == [3, 3, 3, 3]
    assert frame["params.mlp.bias"].dropna().tolist() == [False, False, False]
    assert frame["params.layers"].tolist()[:2] == [[64, 32], 'a, "b"\nc']
    assert frame["parent"].dropna().tolist() == [0]
    assert frame["failure.kind"].dropna().tolist() == ["user", "infeasible"]


def test_the_best_value_of_the_table_is_that_of_the_results() -> None:
    table = varied()
    frame: Any = trial_frame(table)
    assert table.best is not None
    assert frame.nlargest(1, "value")["trial"].tolist() == [table.best.number]
    assert dict(frame.attrs) == {"metric": "accuracy", "goal": "maximize"}


def test_ordinal_values_are_ordered() -> None:
    sizes = trial_frame(varied())["params.size"]
    assert str(sizes.max()) == "large"
    assert list(sizes.cat.categories) == ["small", "large"]


def test_tables_of_two_sweeps_can_be_joined() -> None:
    one = trial_frame(varied())
    both = pd.concat([one, one])
    assert (both.dtypes == one.dtypes).all()


def test_who_has_no_pandas_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(DefinitionError) as caught:
        trial_frame(varied())
    assert str(caught.value) == 'a table of pandas\': it needs pandas: pip install "metta-sweep[report]"'
