"""What the Temporal UI shows of a sweep: a page of markdown."""

from collections.abc import Sequence

from metta.sweep.contracts.sweeps import Progress, Row, SweepStatus
from metta.sweep.contracts.wording import budget_text, value_text

ROWS = 10
CELL_CHARS = 300


def details(status: SweepStatus) -> str:
    """Status, budget and the best trials as markdown."""
    progress = status.progress
    counts = progress.counts
    lines = [
        f"**{status.state}**" + (f": {status.reason}" if status.reason else ""),
        "",
        f"{counts.started} trials started: {counts.completed} completed, {counts.running} running,"
        f" {counts.failed} failed, {counts.stopped} stopped"
        + (f", {counts.paused} paused" if counts.paused else ""),
        "",
        f"Budget: {budget_text(status.control.budget)}",
        *(["", f"Note: {note}"] if (note := status.notice or progress.note) else []),
    ]
    for warning in progress.warnings:
        lines += ["", f"Warning: {warning}"]
    if progress.best:
        lines += ["", "```", *table_lines(progress, progress.best[:ROWS]), "```"]
    return "\n".join(lines)


def table_lines(progress: Progress, rows: Sequence[Row]) -> list[str]:
    """The best trials in columns, for a block of code: the UI leaves no space between columns of tables."""
    goal = f" ({progress.goal})" if progress.goal else ""
    cells = [("trial", f"{progress.metric}{goal}", "parameters")]
    cells += [(str(row.trial), value_text(row.value), params_text(row)) for row in rows]
    width = max(len(value) for _, value, _ in cells)
    return [f"{trial:>5}  {value:>{width}}  {params}" for trial, value, params in cells]


def params_text(row: Row) -> str:
    """Parameters of a trial in one line; numbers with four digits, for people."""
    params = ", ".join(f"{name}={value_text(value)}" for name, value in row.params.items())
    if len(params) > CELL_CHARS:
        params = params[:CELL_CHARS] + " ..."
    return " ".join(params.split())
