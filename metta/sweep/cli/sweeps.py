"""What the command says of sweeps."""

import os
import shlex
from typing import TYPE_CHECKING

from pydantic import BaseModel
from rich.text import Text

from metta.sweep.cli.output import Output
from metta.sweep.cli.shapes import SweepChanged, SweepShown
from metta.sweep.client.leaderboards import leaderboard
from metta.sweep.client.live import best_text, counts_text, failures_text
from metta.sweep.contracts.budgets import Control
from metta.sweep.contracts.sweeps import ENDED, Progress, SweepStatus
from metta.sweep.contracts.wording import budget_text
from metta.sweep.stores.snapshots import overview_of
from metta.sweep.stores.trials import TrialTable

if TYPE_CHECKING:
    from metta.sweep.client.handle import SweepHandle

ROWS = 10

REASONS = {
    "budget": "its budget is used up",
    "time": "its time is used up",
    "target": "its target is reached",
    "exhausted": "nothing is left to try",
    "stopped": "it was stopped",
}


class SweepOutput(Output["SweepHandle"]):
    """Prints what a command found out about a sweep."""

    def followed(self, handle: "SweepHandle") -> None:
        """Show how far it is until it is over, and then how it ended."""
        from metta.sweep.client.following import followed

        followed(handle)
        self.shown(handle)

    def shown(self, handle: "SweepHandle", as_recorded: bool = False) -> None:
        """Where a sweep stands, its best trials, and what to do next."""
        table, _ = overview_of(handle.ledger)
        status = handle.status_of(table, as_recorded)
        if self._json:
            self._print_status(handle, status)
            return
        verb = "has" if status.state == "failed" else "is"
        reason = f": {REASONS[status.reason]}" if status.reason in REASONS else ""
        self._say(Text.assemble((handle.sweep_id, "bold"), f" {verb} {status.state}{reason}"))
        self._say(counts_text(table, table.elapsed_s))
        if attempts := _attempts_text(status.progress):
            self._say(attempts)
        nothing = f"nothing is recorded of it{'' if status.state in ENDED else ' yet'}"
        is_known = handle.is_recorded()
        self._say(f"budget: {budget_text(status.control.budget)}" if is_known else nothing)
        if told := status.notice or failures_text(table):
            self._say(Text(told, style="yellow"))
        if table.best:
            self._best(table)
        self._next(_what_next(handle, status), handle.ui)

    def brief(self, handle: "SweepHandle") -> None:
        """What to do next, where all else has been said."""
        status = handle.status()
        if self._json:
            self._print_status(handle, status)
        else:
            self._next(_what_next(handle, status), handle.ui)

    def control(self, name: str, control: BaseModel) -> None:
        """What is now wanted of a sweep."""
        assert isinstance(control, Control)
        if self._json:
            self._print(SweepChanged(sweep=name, **dict(control)))
            return
        states = {
            "running": f"goes on with the budget {budget_text(control.budget)}",
            "paused": "is paused"
            if control.pause == "now"
            else "is paused; running trials come to their end",
            "stopping": "is being stopped",
        }
        self._say(f"{name} {states[control.state]}{_limit_text(control.concurrency)}")
        self._next(f"sweep resume {name}" if control.state == "paused" else f"sweep show {name}")

    def _best(self, table: TrialTable) -> None:
        self._say("")
        self._say(leaderboard(table, ROWS))
        self._say(f"\nbest: {best_text(table)}")
        if table.best:
            self._params(table.best.params)

    def _print_status(self, handle: "SweepHandle", status: SweepStatus) -> None:
        self._print(SweepShown(sweep=handle.sweep_id, ui=handle.ui, **dict(status)))


def _limit_text(trials: int | None) -> str:
    if trials is None:
        return ""
    several = f"at most {trials} trials at the same time, if scheduler and executor allow as many"
    return f"; {several if trials > 1 else '1 trial at a time'}"


def _attempts_text(progress: Progress) -> str:
    """How attempts failed, the commonest kind first; empty when none did."""
    failed = sorted(progress.failed_attempts.items(), key=lambda counted: -counted[1])
    if not failed:
        return ""
    retried = f" ({progress.retried} retried)" if progress.retried else ""
    return f"failed attempts: {', '.join(f'{n} {kind}' for kind, n in failed)}{retried}"


def _what_next(handle: "SweepHandle", status: SweepStatus) -> str:
    if status.state == "paused":
        return f"sweep resume {handle.sweep_id}"
    if status.state in ("running", "stopping"):
        return f"sweep attach {handle.sweep_id}"
    if (status.state != "finished" or status.reason == "stopped") and handle.is_recorded():
        return f"sweep retry {handle.sweep_id.split('/')[0]}"  # which may be a stage of that
    argv = handle.code.argv if handle.code else ()
    script = os.path.relpath(argv[0]) if argv and argv[0].endswith(".py") else "FILE"
    more = " --budget N" if status.reason in ("budget", "time", "target") else ""
    rest = f" -- {shlex.join(argv[1:])}" if script != "FILE" and argv[1:] else ""
    return f"sweep run {script} --name {handle.sweep_id} --resume{more}{rest}"
