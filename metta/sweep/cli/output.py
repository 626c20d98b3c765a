"""Output: results on standard output, as tables for people or as JSON for machines."""

import json
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from metta.sweep.client.live import counts_text, leaderboard
from metta.sweep.client.results import Results
from metta.sweep.contracts.budgets import Control
from metta.sweep.contracts.sweeps import SweepStatus
from metta.sweep.contracts.wording import budget_text, duration_text, value_text


class Output:
    """Prints what a command found out.

    Args:
        as_json: Whether a machine reads it.
    """

    def __init__(self, as_json: bool) -> None:
        self._json = as_json
        self._console = Console(highlight=False)

    def results(self, results: Results) -> None:
        """The end of a sweep: the best trials, and what to do next."""
        progress = results.progress
        if self._json:
            self._print_json({"sweep": results.sweep_id, **progress.model_dump(mode="json")})
            return
        self._console.print(counts_text(progress.counts, progress.elapsed_s))
        if progress.best:
            self._console.print(leaderboard(progress.best[:5], progress.metric or ""))
            best = progress.best[0]
            self._console.print(f"best: trial {best.trial}, {progress.metric} {value_text(best.value)}")
        self._next(f"sweep show {results.sweep_id}")

    def status(self, name: str, status: SweepStatus, ui: str) -> None:
        """Where a sweep stands."""
        if self._json:
            self._print_json({"sweep": name, "ui": ui, **status.model_dump(mode="json")})
            return
        progress = status.progress
        reason = f" ({status.reason})" if status.reason else ""
        self._console.print(f"[bold]{name}[/bold] is {status.state}{reason}")
        self._console.print(counts_text(progress.counts, progress.elapsed_s))
        self._console.print(f"budget: {budget_text(status.control.budget)}")
        if progress.best:
            self._console.print(leaderboard(progress.best, progress.metric or ""))
        running = status.state == "running"
        self._next(
            f"sweep attach {name}" if running else f"sweep run FILE --name {name} --resume --budget N", ui
        )

    def overview(self, statuses: Sequence[tuple[str, SweepStatus]]) -> None:
        """All sweeps of a project."""
        if self._json:
            self._print_json([{"sweep": name, **s.model_dump(mode="json")} for name, s in statuses])
            return
        table = Table(box=None, pad_edge=False, header_style="bold")
        for title in ("sweep", "state", "trials", "time", "metric", "best"):
            table.add_column(title)
        for name, status in statuses:
            progress = status.progress
            best = value_text(progress.best[0].value) if progress.best else ""
            cells = (
                str(progress.counts.started),
                duration_text(progress.elapsed_s),
                progress.metric or "",
                best,
            )
            table.add_row(name, status.state, *cells)
        self._console.print(table if statuses else "no sweeps yet")
        self._next("sweep show NAME" if statuses else "sweep run FILE")

    def control(self, name: str, control: Control) -> None:
        """What is now wanted of a sweep."""
        if self._json:
            self._print_json({"sweep": name, **control.model_dump(mode="json")})
            return
        wanted = "is being stopped" if control.stop else f"has the budget {budget_text(control.budget)}"
        self._console.print(f"{name} {wanted}")
        self._next(f"sweep show {name}")

    def _next(self, command: str, ui: str = "") -> None:
        self._console.print(f"next: {command}" + (f"   UI: {ui}" if ui else ""), style="dim", soft_wrap=True)

    def _print_json(self, data: object) -> None:
        print(json.dumps(data))
