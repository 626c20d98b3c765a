"""Clean a table with gaps and wild values, and fit a model to it: every hook there is, where it is of use.

    python examples/pipeline_cleaning.py

Hooks take part in a fixed order, however they are written: docs/reference/hooks.md has the table.
"""

import csv
import io
import logging
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveFloat
from sklearn.datasets import load_diabetes
from sklearn.impute import KNNImputer
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_score

from metta.sweep import RetryPolicy
from metta.sweep.experiments.base import HookSet, Pipeline

NAMES = ["age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"]
LOST, WILD = 0.05, 0.01  # so much of the table is damaged
NEIGHBOURS = 5  # so many rows say what stood in a gap
MAX_GAPS = 3  # a row with more of them is left out

log = logging.getLogger("cleaning")

Rows = list[list[float | None]]


class Table(NamedTuple):
    names: list[str]
    rows: Rows
    target: list[float]
    gaps: int = 0


class Report(NamedTuple):
    rows: int
    r2: float


def values_of(table: Table) -> NDArray[np.float64]:
    """The table's rows; gaps are NaN."""
    return np.array(table.rows, dtype=np.float64)


def rows_of(values: NDArray[np.float64]) -> Rows:
    return [[None if np.isnan(value) else float(value) for value in row] for row in values]


# stages


def load() -> Table:
    values, target = map(np.asarray, load_diabetes(return_X_y=True, scaled=False))
    rng = np.random.default_rng(7)
    values = np.where(rng.random(values.shape) < WILD, values * 1000, values)
    values = np.where(rng.random(values.shape) < LOST, np.nan, values)
    return Table(NAMES, rows_of(values), target.tolist())


def tame(table: Table) -> Table:
    """Take values that cannot be true for gaps."""
    values = values_of(table)
    return table._replace(rows=rows_of(np.where(values > 20 * np.nanmedian(values, axis=0), np.nan, values)))


def fill(table: Table) -> Table:
    """Fill gaps with what similar rows have there."""
    filled = KNNImputer(n_neighbors=NEIGHBOURS).fit_transform(values_of(table))
    return table._replace(rows=rows_of(np.asarray(filled)), gaps=0)


def scale(table: Table) -> Table:
    values = values_of(table)
    return table._replace(rows=rows_of((values - values.mean(axis=0)) / values.std(axis=0)))


def fit(table: Table) -> Report:
    scores = cross_val_score(Ridge(), values_of(table), table.target, cv=5)
    return Report(len(table.rows), float(scores.mean()))


# hooks


def gaps_in(table: Table) -> int:
    return sum(value is None for row in table.rows for value in row)


def without_sparse_rows(table: Table) -> Table:
    kept = [n for n, row in enumerate(table.rows) if row.count(None) <= MAX_GAPS]
    return table._replace(rows=[table.rows[n] for n in kept], target=[table.target[n] for n in kept])


def with_medians(error: Exception, table: Table) -> Table:
    """Fill gaps with what is most usual, when nothing better can be done."""
    log.warning("no neighbours, so medians: %s", error)
    values = values_of(table)
    return table._replace(
        rows=rows_of(np.where(np.isnan(values), np.nanmedian(values, axis=0), values)), gaps=0
    )


def rounded(table: Table) -> Table:
    return table._replace(rows=rows_of(values_of(table).round(4)))


def as_csv(table: Table) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([table.names, *table.rows])
    return text.getvalue()


def each_row_has_its_target(table: Table) -> None:
    assert len(table.rows) == len(table.target)


def warn_of_losses(table: Table) -> None:
    if len(table.rows) < 400:
        log.warning("only %d rows are left", len(table.rows))


WATCHED = HookSet(
    log=lambda table: f"{len(table.rows)} rows with {gaps_in(table)} gaps",
    metrics=lambda table: {"rows": len(table.rows), "gaps": gaps_in(table)},
    monitor=warn_of_losses,
    debug=lambda table: log.info("first row: %s", table.rows[0]),  # or breakpoint()
)

pipeline = (
    Pipeline()
    .stage("load", load)
    .through(
        Table,
        retry=RetryPolicy(max_attempts=3, initial=0.1),
        timeout=60,
        schema={"target": list[PositiveFloat]},
        archive="diabetes.json",
        **WATCHED,
    )
    .stage("tame", tame)
    .through(
        Table,
        before=lambda table: log.info("looking for wild values in %s", ", ".join(table.names)),
        assert_fn=each_row_has_its_target,
        filter=without_sparse_rows,
        enrich=lambda table: {"gaps": gaps_in(table)},
        **WATCHED,
    )
    .stage("fill", fill)
    .through(
        Table,
        skip_if=lambda table: table.gaps == 0,
        cache=True,
        cache_key=lambda table: [table.rows, NEIGHBOURS],
        validate=lambda table: gaps_in(table) == 0,
        transform=rounded,
        checkpoint=True,
        on_error=with_medians,
        **WATCHED,
    )
    .stage("scale", scale)
    .through(Table, serialize=as_csv, checkpoint_path="diabetes.csv")
    .stage("fit", fit)
    .through(
        Report,
        profile=True,
        validate_type=True,
        validate=lambda report: report.r2 > 0.3,
        after=lambda report: log.info("r2 %.3f", report.r2),
    )
)

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    report = pipeline.run(name="diabetes-cleaning")
    print(f"{report.rows} rows are left; Ridge explains {report.r2:.1%} of the variance")
