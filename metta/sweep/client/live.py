"""Live progress: a sweep's ledger followed in a terminal, a notebook or a log file."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from importlib.util import find_spec
from time import monotonic
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.text import Text

from metta.sweep.client.leaderboards import leaderboard
from metta.sweep.contracts.budgets import Budget
from metta.sweep.contracts.errors import StoreAway
from metta.sweep.contracts.sweeps import Progress
from metta.sweep.contracts.wording import duration_text, value_text
from metta.sweep.stores.base import Ledger
from metta.sweep.stores.trials import TrialTable

REFRESH_S = 0.25
LINE_S = 5.0
"""A log gets a line so often at most, and more rarely the longer the sweep lasts."""

ROWS = 5
BAR_WIDTH = 60


class Follower:
    """What a ledger says by now; each update reads on from where the last one ended."""

    def __init__(self, ledger: Ledger) -> None:
        self.table = TrialTable()
        self._ledger = ledger
        self._last = -1
        self._heard = monotonic()

    def update(self) -> TrialTable:
        """Read on."""
        for chunk in self._ledger.read(self._last):
            self.table.apply_chunk(chunk)
            self._last = chunk.n
            self._heard = monotonic()
        return self.table

    @property
    def elapsed_s(self) -> float:
        """Time that the sweep has run, also while nothing is recorded, without that of pauses."""
        works = self.table.running and not self.table.control.pause
        return self.table.elapsed_s + (monotonic() - self._heard if works else 0.0)

    @property
    def pause(self) -> str:
        """What is said of a pause; empty when there is none."""
        if self.table.control.state != "paused":
            return ""
        ends = self.table.control.pause == "soon" and self.table.running
        return "paused; running trials come to their end" if ends else "paused"


def follow(
    ledger: Ledger, end: Future[Any], console: Console, note: Callable[[], str] = lambda: ""
) -> TrialTable:
    """Show how far a sweep is until it is over.

    Args:
        ledger: The sweep's ledger.
        end: Done when the sweep is over.
        console: Where to show it; one that cannot be overwritten gets a line now and then.
        note: Tells what the sweep is waiting for.

    Returns:
        What is recorded of it.
    """
    follower = Follower(ledger)
    with _screen(console) as show:
        while not end.done():
            began, away = monotonic(), ""
            try:
                follower.update()
            except StoreAway as error:  # the sweep waits for it, too
                away = str(error)
            show(follower, "; ".join(filter(None, (follower.pause, away or note()))))
            # of a large sweep not too often: the trials need the machine more
            wait([end], timeout=max(REFRESH_S, 10 * (monotonic() - began)))
    return follower.update()


@contextmanager
def _screen(console: Console) -> Iterator[Callable[[Follower, str], None]]:
    if not is_live(console):
        yield _Lines(console).show
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield lambda follower, note: live.update(_live(follower, note), refresh=True)


def is_live(console: Console) -> bool:
    """Whether what was shown can be overwritten."""
    if console.is_jupyter:  # without widgets nothing could be overwritten, and rich would warn each time
        return find_spec("ipywidgets") is not None
    return console.is_interactive


class _Lines:
    """Plain lines for logs: when something has changed, and not too often."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said = ""
        self._at = monotonic()  # a sweep that ends soon needs none

    def show(self, follower: Follower, note: str) -> None:
        is_early = monotonic() - self._at < max(LINE_S, follower.elapsed_s / 50)
        if is_early or (follower.table.spec is None and not note):
            return
        state = f"{follower.table.counts} {follower.table.best} {note}"
        if state == self._said:
            return
        self._said, self._at = state, monotonic()
        is_begun = follower.table.spec is not None
        line = summary_of(follower.table, follower.elapsed_s) if is_begun else "starting"
        self._console.print(f"{line}; note: {note}" if note else line, soft_wrap=True, markup=False)


def _live(follower: Follower, note: str) -> RenderableType:
    table, elapsed_s = follower.table, follower.elapsed_s
    told = Text(f"note: {note}", style="yellow") if note else Group()
    if table.spec is None:
        return Group(Text("starting"), told)
    share = spent(table.control.budget, table.counts.started, elapsed_s)
    # without padding the bar would not end its line
    bar = Padding(ProgressBar(total=1.0, completed=share, width=BAR_WIDTH), 0) if share else Group()
    return Group(bar, progress_of(table, elapsed_s), told)


def progress_of(table: TrialTable, elapsed_s: float) -> RenderableType:
    """Counts, failures and the best trials."""
    parts: list[RenderableType] = [Text(counts_text(table, elapsed_s))]
    if failures := failures_text(table):
        parts.append(Text(failures, style="yellow"))
    parts += [Text(warning, style="yellow") for warning in table.warnings]
    if table.best:
        parts.append(leaderboard(table, ROWS))
    return Group(*parts)


def summary_of(table: TrialTable, elapsed_s: float) -> str:
    """How far it is in one line."""
    best = best_text(table)
    return counts_text(table, elapsed_s) + (f"; best {best}" if best else "")


def counts_text(table: TrialTable, elapsed_s: float) -> str:
    """How many trials, and what became of them."""
    counts, trials = table.counts, table.control.budget.trials
    told = {name: n for name, n in counts.model_dump().items() if n and name != "started"}
    ended = ", ".join(f"{n} {name}" for name, n in told.items())
    of = f" of {trials}" if trials else ""
    what = "trial" if (trials or counts.started) == 1 else "trials"
    return f"{counts.started}{of} {what} in {duration_text(elapsed_s)}" + (f": {ended}" if ended else "")


def failures_text(table: TrialTable) -> str:
    """How many trials failed, and how most of them did; empty when none did."""
    common = table.commonest_failure()
    if common is None:
        return ""
    message, *_ = common.message.splitlines() or [common.kind]
    return (
        f"{table.failed} failed, most often with: {message}" if table.failed > 1 else f"1 failed: {message}"
    )


def best_text(table: TrialTable) -> str:
    """The best value, which way is better, and whose it is; empty before there is one."""
    if table.best is None or table.objective is None:
        return ""
    metric, goal = table.objective
    return f"{metric} {value_text(table.value(table.best))} ({goal}), trial {table.best.number}"


def best_known(progress: Progress) -> str:
    """The best value, to be said behind the counts; empty before there is one."""
    return f", best {progress.metric} {value_text(progress.best[0].value)}" if progress.best else ""


def spent(budget: Budget, started: int, elapsed_s: float) -> float:
    """Share of the budget that is used up, from 0 to 1; of several limits the nearest."""
    shares = [started / budget.trials if budget.trials else 0.0]
    shares += [elapsed_s / budget.time_s if budget.time_s else 0.0]
    return min(1.0, max(shares))
