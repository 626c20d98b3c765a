"""Live progress: a sweep's ledger followed in the terminal or notebook."""

from collections.abc import Callable
from time import sleep

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from metta.sweep.contracts.budgets import Budget
from metta.sweep.contracts.sweeps import Counts, Row
from metta.sweep.contracts.wording import duration_text, value_text
from metta.sweep.stores.base import Ledger
from metta.sweep.stores.trials import TrialTable

REFRESH_S = 0.25
ROWS = 5


class Follower:
    """What a ledger says by now; each update reads on from where the last one ended."""

    def __init__(self, ledger: Ledger) -> None:
        self.table = TrialTable()
        self._ledger = ledger
        self._last = -1

    def update(self) -> TrialTable:
        """Read on."""
        if self._ledger.exists():
            for chunk in self._ledger.read(self._last):
                self.table.apply_chunk(chunk)
                self._last = chunk.n
        return self.table


def follow(ledger: Ledger, is_over: Callable[[], bool], console: Console) -> TrialTable:
    """Show how far a sweep is until it is over.

    Args:
        ledger: The sweep's ledger.
        is_over: Whether the sweep has ended.
        console: Where to show it; one that is no terminal gets the end only.
    """
    follower = Follower(ledger)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while not is_over():
            live.update(progress_of(follower.update()), refresh=True)
            sleep(REFRESH_S)
    return follower.update()


def progress_of(table: TrialTable) -> RenderableType:
    """Counts, budget and the best trials."""
    progress = table.progress(ROWS)
    parts: list[RenderableType] = [counts_text(progress.counts, progress.elapsed_s)]
    if share := spent(table.control.budget, progress.counts.started, progress.elapsed_s):
        parts.append(ProgressBar(total=1.0, completed=share, width=60))
    if progress.best:
        parts.append(leaderboard(progress.best, progress.metric or ""))
    return Group(*parts)


def counts_text(counts: Counts, elapsed_s: float) -> Text:
    """One line: how many trials, and what became of them."""
    told = {name: n for name, n in counts.model_dump().items() if n and name != "started"}
    ended = ", ".join(f"{n} {name}" for name, n in told.items())
    return Text(f"{counts.started} trials in {duration_text(elapsed_s)}" + (f": {ended}" if ended else ""))


def spent(budget: Budget, started: int, elapsed_s: float) -> float:
    """Share of the budget that is used up, from 0 to 1; of several limits the nearest."""
    shares = [started / budget.trials if budget.trials else 0.0]
    shares += [elapsed_s / budget.time_s if budget.time_s else 0.0]
    return min(1.0, max(shares))


def leaderboard(rows: tuple[Row, ...] | list[Row], metric: str) -> Table:
    """The best trials as a table, one column a parameter."""
    names = sorted({name for row in rows for name in row.params})
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("trial", metric, "step"):
        table.add_column(title, justify="right")
    for name in names:
        table.add_column(name)
    for row in rows:
        params = (value_text(row.params[name]) if name in row.params else "" for name in names)
        table.add_row(
            str(row.trial), value_text(row.value), "" if row.step is None else str(row.step), *params
        )
    return table
