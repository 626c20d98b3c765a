"""Trials as rows: what became of each, one row a trial."""

from collections.abc import Iterator, Sequence
from typing import get_args

from metta.sweep.contracts.failures import FailureKind
from metta.sweep.contracts.records import TrialRecord
from metta.sweep.contracts.sweeps import TrialStatus
from metta.sweep.report.columns import Column, Row, Rows, numbers, param_column
from metta.sweep.stores.trials import TrialTable


def trial_rows(table: TrialTable) -> Rows:
    """One row a trial, in the order of their numbers.

    Args:
        table: What is known of the sweep.
    """

    def read() -> Iterator[Row]:
        return (trial_row(table, record) for record in table.records)

    return Rows(lambda: trial_columns(table), read)


def trial_row(table: TrialTable, record: TrialRecord) -> Row:
    """A trial: ``value`` is that of the metric that counts; one that failed has none."""
    failure = record.failure
    return {
        "trial": record.number,
        "status": table.status_of(record),
        "value": None if record.status == "failed" else table.value(record),
        "metrics": record.metrics,
        "step": record.step,
        "params": record.params,
        "seconds": record.seconds,
        "cost": record.cost,
        "seed": record.seed,
        "segment": record.segment,
        "attempt": record.attempt,
        "failed_attempts": record.failed,
        "parent": record.parent,
        "failure": failure and {"kind": failure.kind, "message": failure.message},
        "checkpoint": record.checkpoint,
    }


def trial_columns(table: TrialTable) -> Sequence[Column]:
    """The columns of such rows; parameters in the order of the space, then any that it does not name."""
    space = table.spec.search_space if table.spec else {}
    params = dict.fromkeys([*space, *(name for record in table.records for name in record.params)])
    first = table.objective.metric if table.objective else None
    return [
        Column("trial", "count"),
        Column("status", "category", categories=get_args(TrialStatus)),
        Column("value", "number"),
        *numbers("metrics", (record.metrics for record in table.records), first),
        Column("step", "integer"),
        *(param_column(name, space.get(name)) for name in params),
        Column("seconds", "number"),
        Column("cost", "number"),
        Column("seed", "count"),
        Column("segment", "count"),
        Column("attempt", "count"),
        Column("failed_attempts", "count"),
        Column("parent", "integer"),
        Column("kind", "category", "failure", get_args(FailureKind)),
        Column("message", "text", "failure"),
        Column("checkpoint", "text"),
    ]
