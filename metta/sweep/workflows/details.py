"""What the Temporal UI shows of a sweep: a page of markdown."""

from metta.sweep.contracts.sweeps import Row, SweepStatus
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
        goal = f" ({progress.goal})" if progress.goal else ""
        lines += ["", f"| trial | {progress.metric}{goal} | parameters |", "|---:|---:|---|"]
        lines += [row_text(row) for row in progress.best[:ROWS]]
    return "\n".join(lines)


def row_text(row: Row) -> str:
    """A line of the table; numbers with four digits, for people."""
    params = ", ".join(f"{name}={value_text(value)}" for name, value in row.params.items())
    if len(params) > CELL_CHARS:
        params = params[:CELL_CHARS] + " ..."
    # what would end the cell or the line
    return f"| {row.trial} | {value_text(row.value)} | {' '.join(params.replace('|', '/').split())} |"
