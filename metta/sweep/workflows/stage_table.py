"""The stage table: what people see of a running experiment."""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from metta.sweep.contracts.experiments import Row, StageResult
from metta.sweep.contracts.plans import At
from metta.sweep.contracts.rows import row_of

LATEST = 20
"""So many stages that have ended are shown; all of them stand in the outcome log."""

RUNNING = 20
"""So many of those that run are shown."""


NAME_CHARS, NOTE_CHARS = 100, 200
"""The engine takes 20 kB in all."""


class StageTable:
    """What runs now, and what has ended lately."""

    def __init__(self) -> None:
        self.ended = 0
        self._running: dict[At, None] = {}
        self._latest = deque[Row](maxlen=LATEST)

    @asynccontextmanager
    async def running(self, at: At) -> AsyncIterator[None]:
        """Within it a stage is shown as running."""
        self._running[at] = None
        try:
            yield
        finally:
            self._running.pop(at, None)

    def end(self, result: StageResult) -> None:
        """A stage has ended."""
        self.ended += 1
        self._latest.append(row_of(result.outcome, result.seconds))

    @property
    def rows(self) -> tuple[Row, ...]:
        """The latest that have ended, the newest last, and then what runs."""
        running = [Row(stage=str(at), status="running") for at in list(self._running)[:RUNNING]]
        return (*self._latest, *running)

    def markdown(self) -> str:
        """The table for the Temporal UI: as code, for it leaves no space between columns of tables."""
        cells = [("stage", "status", "attempts", "seconds", ""), *map(_cells, self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in cells)
        return "\n".join([f"stages that have ended: {self.ended}", "", "```", *lines, "```"])


def _cells(row: Row) -> tuple[str, ...]:
    seconds = "" if row.status == "running" else f"{row.seconds:.2f}"
    notes = " ".join("; ".join(row.notes).split())[:NOTE_CHARS]
    return row.stage[:NAME_CHARS], row.status, str(row.attempts or ""), seconds, notes
