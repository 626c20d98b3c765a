"""Frames: rows as a table of pandas', each column with the type that fits all that may stand in it."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from metta.sweep.report.columns import Column, Kind, Row, json_of
from metta.sweep.report.libraries import library
from metta.sweep.report.trials import trial_rows
from metta.sweep.stores.trials import TrialTable

if TYPE_CHECKING:
    from pandas import DataFrame


DTYPES: dict[Kind, str] = {
    "count": "int64",
    "integer": "Int64",  # the one with gaps
    "number": "float64",
    "flag": "boolean",
    "text": "string",
    "time": "datetime64[us, UTC]",
    "json": "object",
}
"""Types of pandas' for what a column holds; those of categories have their values."""


def trial_frame(table: TrialTable) -> "DataFrame":
    """All trials, one row each; its ``attrs`` say which metric counts, and which way.

    Args:
        table: What is known of the sweep.

    Raises:
        DefinitionError: When pandas is not installed.
    """
    library("pandas", "a table of pandas'")  # before all rows are made
    rows = trial_rows(table)
    found = frame(rows.columns(), rows.read())
    metric, goal = table.objective or (None, None)
    found.attrs |= {"metric": metric, "goal": goal}
    return found


def frame(columns: Sequence[Column], rows: Iterable[Row], json_as_text: bool = False) -> "DataFrame":
    """Rows as a table.

    Args:
        columns: Its columns.
        rows: Its rows.
        json_as_text: Whether what may be anything is written as JSON, for formats in which all values of a
            column are of one type.

    Raises:
        DefinitionError: When pandas is not installed.
    """
    pandas = library("pandas", "a table of pandas'")
    cells = list(zip(*([column.of(row) for column in columns] for row in rows), strict=True))
    data = {
        column.title: _series(pandas, column, values, json_as_text)
        for column, values in zip(columns, cells or [()] * len(columns), strict=True)
    }
    made: DataFrame = pandas.DataFrame(data)
    return made


def _series(pandas: Any, column: Column, values: Sequence[Any], json_as_text: bool) -> Any:
    match column.kind:
        case "category":
            return pandas.Categorical(values, categories=column.categories, ordered=column.is_ordered)
        case "json" if json_as_text:
            texts = [None if value is None else json_of(value) for value in values]
            return pandas.Series(texts, dtype="string")
        case kind:
            return pandas.Series(values, dtype=DTYPES[kind])
