"""Stage lines: the stages of an experiment followed in a terminal, a notebook or a log file."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from time import monotonic
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from metta.sweep.client.leaderboards import Column, Columns
from metta.sweep.client.live import REFRESH_S, is_live
from metta.sweep.client.stages import Stages
from metta.sweep.contracts.errors import StoreAway
from metta.sweep.contracts.experiments import Row
from metta.sweep.contracts.wording import duration_text
from metta.sweep.stores.base import OutcomeLog

LINES_S = 1.0
"""A log gets lines so often at most."""

LINES = 10
"""More stages than these at once are only counted."""


def follow_stages(
    log: OutcomeLog, end: Future[Any], console: Console, note: Callable[[], str] = lambda: ""
) -> Stages:
    """Show which stages of an experiment have ended until it is over.

    Args:
        log: The experiment's outcome log.
        end: Done when the experiment is over.
        console: Where to show it; one that cannot be overwritten gets a line for each stage, or a count
            where they are many.
        note: Tells what its stages do.

    Returns:
        What is recorded of it.
    """
    stages = Stages(log)
    with _screen(console, stages) as show:
        while not end.done():
            began = monotonic()
            try:
                show(stages.update(), note())
            except StoreAway as error:  # the stages wait for it, too
                show([], str(error))
            # of a long log not too often: the stages need the machine more
            wait([end], timeout=max(REFRESH_S, 10 * (monotonic() - began)))
        show(stages.update(), "")
    return stages


@contextmanager
def _screen(console: Console, stages: Stages) -> Iterator[Callable[[Sequence[Row], str], None]]:
    if not is_live(console):
        lines = _Lines(console, stages)
        yield lines.show
        lines.print_rest()
        return
    with Live(console=console, auto_refresh=False) as live:
        yield lambda _, note: live.update(_live(stages, note), refresh=True)


class _Lines:
    """A line for each stage; where many end at once, their number."""

    def __init__(self, console: Console, stages: Stages) -> None:
        self._console, self._stages = console, stages
        self._rows: list[Row] = []
        self._at = -LINES_S

    def show(self, rows: Sequence[Row], note: str) -> None:
        self._rows += rows
        if self._rows and monotonic() - self._at >= LINES_S:
            self.print_rest()

    def print_rest(self) -> None:
        self._at = monotonic()
        rows = self._rows[-1:] if len(self._rows) > LINES else self._rows
        if len(rows) < len(self._rows):
            self._say(f"{self._stages.summary()}; the last one:")
        for row in rows:
            self._say(row_text(row))
        self._rows = []

    def _say(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, markup=False)


def _live(stages: Stages, note: str) -> RenderableType:
    parts: list[RenderableType] = [table_of_rows(stages.rows)] if stages.rows else []
    said = "; ".join(filter(None, (stages.summary(), note)))
    return Group(*parts, Text(said if stages.began else "starting", style="dim"))


def row_text(row: Row) -> str:
    """How a stage ended, in one line.

    >>> row_text(Row(stage="train[2]", status="done", attempts=3, seconds=1.25, notes=("loss 0.1",)))
    'train[2]  done  1.2 s  3 attempts  loss 0.1'
    """
    attempts = f"{row.attempts} attempts" if row.attempts > 1 else ""
    parts = (row.stage, row.status, _seconds(row), attempts, "; ".join(row.notes))
    return "  ".join(part for part in parts if part not in ("", "-"))


def table_of_rows(rows: Sequence[Row]) -> Columns:
    """Stages, a line each."""
    columns = [
        Column("stage", [row.stage for row in rows], whole=True),
        Column("status", [row.status for row in rows]),
        Column("time", [_seconds(row) for row in rows], right=True),
        Column("attempts", [str(row.attempts or "-") for row in rows], right=True),
    ]
    if any(row.notes for row in rows):
        columns.append(Column("notes", ["; ".join(row.notes) for row in rows], whole=True))
    return Columns(columns)


def _seconds(row: Row) -> str:
    """How long it took; not known of what runs, failed, or was not run."""
    if row.status in ("failed", "running", "skipped"):
        return "-"
    return duration_text(row.seconds) if row.seconds >= 0.1 else f"{row.seconds * 1000:.0f} ms"
