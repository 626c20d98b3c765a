"""Leaderboards: the best trials as a table that stays legible, however many parameters there are."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from metta.sweep.contracts.sweeps import Row
from metta.sweep.contracts.wording import value_text
from metta.sweep.stores.trials import TrialTable

CELL = 20
"""Values and titles of parameters are cut to so many characters where the width is limited."""

GAP = 2


@dataclass(frozen=True)
class Column:
    """One column: its title, its cells, whether they stand at its right edge, and are never cut."""

    title: str
    cells: Sequence[str]
    right: bool = False
    whole: bool = False

    @cached_property
    def width(self) -> int:
        """Characters it takes."""
        return max(map(cell_len, (self.title, *self.cells)))

    def line(self, n: int) -> str:
        """Its title (line 0) or a cell, as wide as the column."""
        text = (self.title, *self.cells)[n]
        space = " " * (self.width - cell_len(text))
        return space + text if self.right else text + space


class Columns:
    """Columns side by side. In a terminal those that do not fit are left out and named; a file gets all.

    Args:
        columns: The columns, the most important ones first.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns = self._columns
        if console.is_interactive or console.is_jupyter:
            columns = _fitting([_cut(column) for column in columns], options.max_width)
        for n in range(1 + len(columns[0].cells)):
            line = (" " * GAP).join(column.line(n) for column in columns).rstrip()
            yield Text(line, style="" if n else "bold", no_wrap=True, overflow="ignore")
        if left := [column.title for column in self._columns[len(columns) :]]:
            yield Text(f"not shown: {', '.join(left)}", style="dim", no_wrap=True, overflow="ellipsis")


def leaderboard(table: TrialTable, limit: int) -> Columns:
    """The best trials of a sweep, a line each; parameters in the order of the space.

    Args:
        table: What is known of the sweep.
        limit: So many trials at most.
    """
    rows = table.leaderboard(limit)
    names = [*(table.spec.search_space if table.spec else ())]
    columns = [
        Column("trial", [str(row.trial) for row in rows], right=True),
        Column(table.objective.metric if table.objective else "", [value_text(r.value) for r in rows], True),
    ]
    if any(row.step is not None for row in rows):
        columns.append(Column("step", ["-" if r.step is None else str(r.step) for r in rows], right=True))
    columns += [Column(name, [_cell(row, name) for row in rows]) for name in names]
    if any(row.status != "completed" for row in rows):
        columns.append(Column("status", [row.status for row in rows]))
    return Columns(columns)


def _cell(row: Row, name: str) -> str:
    if name not in row.params:
        return "-"  # not active in this trial
    return cell_text(row.params[name])


def cell_text(value: Any) -> str:
    """A value as it stands in a cell, which is one line."""
    text = value_text(value)
    return text if text.isprintable() else repr(text)


def _cut(column: Column) -> Column:
    """Values keep their beginning, dotted names their end: that is where they differ."""
    if column.whole:
        return column
    title = column.title if len(column.title) <= CELL else f"…{column.title[1 - CELL :]}"
    cells = [cell if len(cell) <= CELL else f"{cell[: CELL - 1]}…" for cell in column.cells]
    return replace(column, title=title, cells=cells)


def _fitting(columns: Sequence[Column], width: int) -> Sequence[Column]:
    """As many columns as fit, the first one in any case."""
    used = -GAP
    for n, column in enumerate(columns):
        used += GAP + column.width
        if used > width and n:
            return columns[:n]
    return columns
