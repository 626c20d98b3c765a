"""Reports as rows: what trials reported at their steps, one row a report."""

from collections.abc import Iterator, Sequence
from math import inf

from metta.sweep.contracts.events import Reported
from metta.sweep.report.columns import Column, Row, Rows, numbers, time_of
from metta.sweep.stores.base import Ledger


def report_rows(ledger: Ledger) -> Rows:
    """One row a report, in the order in which they were recorded.

    The ledger is read anew each time, for there may be more reports than fit into memory. What is recorded
    after the columns were found out, of a sweep that runs, is left out.

    Args:
        ledger: The sweep's.
    """
    end: float = inf

    def columns() -> Sequence[Column]:
        nonlocal end
        end, metrics = -1, dict[str, float]()
        for number, report in _reports(ledger, inf):
            end = number
            metrics.update(report.metrics)
        return [
            Column("trial", "count"),
            Column("segment", "count"),
            Column("attempt", "count"),
            Column("step", "count"),
            Column("time", "time"),
            *numbers("metrics", [metrics]),
            Column("checkpoint", "text"),
        ]

    def read() -> Iterator[Row]:
        return (report_row(report) for _, report in _reports(ledger, end))

    return Rows(columns, read)


def report_row(report: Reported) -> Row:
    """A report."""
    return {
        "trial": report.trial,
        "segment": report.segment,
        "attempt": report.attempt,
        "step": report.step,
        "time": time_of(report.at),
        "metrics": report.metrics,
        "checkpoint": report.checkpoint,
    }


def _reports(ledger: Ledger, end: float) -> Iterator[tuple[int, Reported]]:
    """All reports with the numbers of their chunks, up to one of these."""
    for chunk in ledger.read():
        if chunk.n > end:
            return
        for event in chunk.events:
            if isinstance(event, Reported):
                yield chunk.n, event
