"""Following: live progress until the sweep is over, or until somebody detaches."""

import asyncio
import sys
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from time import sleep
from types import TracebackType
from typing import Any

from rich.console import Console

from metta.sweep.client.consoles import console_of
from metta.sweep.client.handle import SweepHandle
from metta.sweep.client.live import follow, progress_of
from metta.sweep.client.loop import submit
from metta.sweep.client.results import Results
from metta.sweep.contracts.errors import SweepEnded
from metta.sweep.stores.trials import TrialTable

SECOND_CHANCE_S = 2.0
"""A second Ctrl-C within this time stops the sweep."""

NOTE_S = 5.0
"""So often a sweep is asked what it waits for."""


def followed(handle: SweepHandle, console: Console | None = None, show_end: bool = False) -> Results:
    """Show how far a sweep is until it is over.

    Args:
        handle: The sweep.
        console: Where to show it; None means standard error, so that standard output stays clean.
        show_end: Whether counts and best trials stay on the screen at the end.

    Returns:
        Its results.

    Raises:
        SweepFailed: When no trial succeeded.
        KeyboardInterrupt: When the user pressed Ctrl-C once; twice stops the sweep and returns.
    """
    console = console or console_of(stderr=True)
    announce(handle.sweep_id, handle.ui, handle.notes, console)
    end, waiting = submit(handle.finished()), _Waiting(handle)
    try:
        table = _until_over(handle, end, waiting, console)
        end.result()
    finally:
        end.cancel()
        waiting.close()
    if show_end:
        conclude(table, console)
    return Results.of(handle.sweep_id, table)


def announce(name: str, where: str, notes: Sequence[str], console: Console | None = None) -> None:
    """Say which sweep is followed, where else it can be seen, and what should be known of it."""
    console = console or console_of(stderr=True)
    console.print(f"sweep [bold]{name}[/bold]  {where}".rstrip(), soft_wrap=True)
    for note in notes:
        console.print(f"note: {note}", soft_wrap=True, markup=False)


def conclude(table: TrialTable, console: Console | None = None) -> None:
    """Leave on the screen how it ended."""
    (console or console_of(stderr=True)).print(progress_of(table, table.elapsed_s), soft_wrap=True)


class _Waiting:
    """What a sweep waits for, such as a free slot: the ledger does not tell, so it is asked."""

    def __init__(self, handle: SweepHandle) -> None:
        self.note = ""
        self._asking = submit(self._ask(handle))

    async def _ask(self, handle: SweepHandle) -> None:
        while True:
            await asyncio.sleep(NOTE_S)
            self.note = await handle.note()

    def close(self) -> None:
        """Ask no more."""
        self._asking.cancel()


def _until_over(handle: SweepHandle, end: Future[Any], waiting: _Waiting, console: Console) -> TrialTable:
    while True:
        try:
            return follow(handle.ledger, end, console, lambda: waiting.note)
        except KeyboardInterrupt:
            _detach(handle, console)


def _detach(handle: SweepHandle, console: Console) -> None:
    """Return when the sweep is to be stopped, else raise ``KeyboardInterrupt``."""
    name = handle.sweep_id
    try:
        console.print(
            f"\ndetached: [bold]{name}[/bold] goes on without this program (Ctrl-C again to stop it)\n"
            f"  watch it again   sweep attach {name}\n"
            f"  stop it          sweep stop {name}",
            soft_wrap=True,
        )
        sleep(SECOND_CHANCE_S)
    except KeyboardInterrupt:
        console.print(f"stopping {name}: its running trials end at their next report")
        with suppress(SweepEnded):  # it has come to its end meanwhile
            handle.stop()
        return
    # no subclass: Python ends with the signal, as shells expect after Ctrl-C, for this very class alone
    interrupt = KeyboardInterrupt(f"{name} goes on; this program does not follow it any more")
    _print_no_traceback_of(interrupt)
    raise interrupt from None


def _print_no_traceback_of(interrupt: KeyboardInterrupt) -> None:
    """All was said already, should the program end with it."""
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if error is not interrupt:
            before(kind, error, traceback)

    sys.excepthook = hook
