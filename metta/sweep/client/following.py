"""Following: live progress until a sweep or experiment is over, or until somebody detaches."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from time import sleep
from types import TracebackType
from typing import Any, TypeVar

from rich.console import Console

from metta.sweep.client.consoles import console_of
from metta.sweep.client.experiment_handle import ExperimentHandle
from metta.sweep.client.handle import SweepHandle
from metta.sweep.client.live import follow, progress_of
from metta.sweep.client.loop import submit
from metta.sweep.client.results import Results
from metta.sweep.client.runs import ResultT, Run
from metta.sweep.client.stage_lines import follow_stages
from metta.sweep.contracts.errors import SweepEnded
from metta.sweep.contracts.experiments import ExperimentResult
from metta.sweep.stores.trials import TrialTable

ViewT = TypeVar("ViewT")

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
    table, _ = _watched(
        handle, lambda end, waiting: follow(handle.ledger, end, console, lambda: waiting.note), console
    )
    if show_end:
        conclude(table, console)
    return Results.of(handle.sweep_id, table)


def followed_experiment(handle: ExperimentHandle, console: Console | None = None) -> ExperimentResult:
    """Show which stages of an experiment have ended until it is over.

    Args:
        handle: The experiment.
        console: Where to show it; None means standard error.

    Returns:
        Its result, whose value ``handle.value_of`` unpacks.

    Raises:
        StageFailed: When a stage failed for good.
        DefinitionError: When it cannot run as it is defined.
        SweepFailed: When it was cancelled.
        KeyboardInterrupt: When the user pressed Ctrl-C once; twice stops the experiment and returns.
    """
    console = console or console_of(stderr=True)
    stages, result = _watched(
        handle, lambda end, waiting: follow_stages(handle.log, end, console, lambda: waiting.note), console
    )
    console.print(f"{result.reason}: {stages.summary()}", soft_wrap=True, markup=False)
    return result


def _watched(
    handle: Run[ResultT], show: "Callable[[Future[Any], _Waiting], ViewT]", console: Console
) -> tuple[ViewT, ResultT]:
    announce(handle.name, handle.ui, handle.notes, console, handle.what)
    end, waiting = submit(handle.finished()), _Waiting(handle)
    try:
        view = _until_over(handle, lambda: show(end, waiting), console)
        return view, end.result()
    finally:
        end.cancel()
        waiting.close()


def announce(
    name: str, where: str, notes: Sequence[str], console: Console | None = None, what: str = "sweep"
) -> None:
    """Say what is followed, where else it can be seen, and what should be known of it."""
    console = console or console_of(stderr=True)
    console.print(f"{what} [bold]{name}[/bold]  {where}".rstrip(), soft_wrap=True)
    for note in notes:
        console.print(f"note: {note}", soft_wrap=True, markup=False)


def conclude(table: TrialTable, console: Console | None = None) -> None:
    """Leave on the screen how it ended."""
    (console or console_of(stderr=True)).print(progress_of(table, table.elapsed_s), soft_wrap=True)


class _Waiting:
    """What it waits for, such as a free slot: what is recorded does not tell, so it is asked."""

    def __init__(self, handle: Run[Any]) -> None:
        self.note = ""
        self._asking = submit(self._ask(handle))

    async def _ask(self, handle: Run[Any]) -> None:
        while True:
            await asyncio.sleep(NOTE_S)
            self.note = await handle.note()

    def close(self) -> None:
        """Ask no more."""
        self._asking.cancel()


def _until_over(handle: Run[Any], show: Callable[[], ViewT], console: Console) -> ViewT:
    while True:
        try:
            return show()
        except KeyboardInterrupt:
            _detach(handle, console)


def _detach(handle: Run[Any], console: Console) -> None:
    """Return when it is to be stopped, else raise ``KeyboardInterrupt``."""
    name = handle.name
    try:
        console.print(
            f"\ndetached: [bold]{name}[/bold] goes on without this program (Ctrl-C again to stop it)\n"
            f"  watch it again   sweep attach {name}\n"
            f"  stop it          sweep stop {name}",
            soft_wrap=True,
        )
        sleep(SECOND_CHANCE_S)
    except KeyboardInterrupt:
        console.print(f"stopping {name}: {handle.farewell}")
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
