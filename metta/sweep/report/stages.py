"""Stages as rows: how each stage of an experiment ended, one row a stage and turn."""

from collections.abc import Sequence
from typing import get_args

from metta.sweep.client.stages import last_entries
from metta.sweep.contracts.outcomes import AttemptFailed, StageEnded
from metta.sweep.contracts.plans import StageFailureKind, StageStatus
from metta.sweep.report.columns import Column, Row, Rows, numbers, time_of
from metta.sweep.stores.base import OutcomeLog


def stage_rows(log: OutcomeLog) -> Rows:
    """One row for each stage in the order in which they ended, and then for those that failed for good.

    Args:
        log: The experiment's outcome log.
    """
    return Rows(lambda: stage_columns(_rows(log)), lambda: iter(_rows(log)))


def stage_columns(rows: Sequence[Row]) -> Sequence[Column]:
    """The columns of such rows."""
    return [
        Column("stage", "text"),
        Column("status", "category", categories=(*get_args(StageStatus), "failed")),
        *numbers("metrics", (row["metrics"] for row in rows)),
        Column("seconds", "number"),
        Column("attempts", "count"),
        Column("time", "time"),
        Column("kind", "category", "failure", get_args(StageFailureKind)),
        Column("message", "text", "failure"),
    ]


def _rows(log: OutcomeLog) -> Sequence[Row]:
    return [_ended(entry) if isinstance(entry, StageEnded) else _failed(entry) for entry in last_entries(log)]


def _ended(entry: StageEnded) -> Row:
    return {
        "stage": entry.outcome.stage,
        "status": entry.outcome.status,
        "metrics": entry.outcome.metrics,
        "seconds": entry.seconds,
        "attempts": entry.outcome.attempts,
        "time": time_of(entry.recorded),
        "failure": None,
    }


def _failed(entry: AttemptFailed) -> Row:
    failure = entry.failure
    return {
        "stage": failure.stage,
        "status": "failed",
        "metrics": {},
        "seconds": None,
        "attempts": failure.attempts,
        "time": time_of(entry.recorded),
        "failure": {"kind": failure.kind, "message": failure.message},
    }
