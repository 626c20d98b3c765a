"""What the command shows of what trials and stages print."""

import sys
from time import sleep
from typing import TYPE_CHECKING

import typer

from metta.sweep.cli.output import Printer
from metta.sweep.cli.shapes import Piece
from metta.sweep.client.experiment_handle import ExperimentHandle
from metta.sweep.client.logs import Printed, StageLog, TrialLog
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.stores.base import Store

if TYPE_CHECKING:
    from metta.sweep.client.attaching import AnyHandle

LOOK_S = 0.5


class LogOutput(Printer):
    """Prints logs as they are, or as a line of JSON for each piece."""

    def shown(self, handle: "AnyHandle", store: Store, what: str, follow: bool) -> None:
        """What was printed; where it is followed, until nothing more can come.

        Args:
            handle: The sweep or experiment.
            store: Where it is recorded.
            what: Number of the trial, or path of the stage.
            follow: Whether to wait for more.

        Raises:
            DefinitionError: When there is none.
        """
        printed, before = _printed_of(handle, store, what), ""
        while True:
            is_over = printed.is_over  # what was printed before that is read below
            for source, data in printed.more():
                self._piece(source, data, is_new=source != before)
                before = source
            if is_over or not follow:
                break
            sleep(LOOK_S)
        if not before:
            typer.echo("nothing was printed", err=True)
        kind = "show" if isinstance(handle, ExperimentHandle) else "trials"
        number = "" if isinstance(handle, ExperimentHandle) else f" {what}"
        typer.echo(f"next: sweep {kind} {handle.name}{number}", err=True)

    def _piece(self, source: str, data: bytes, is_new: bool) -> None:
        if self._json:
            self._print(Piece(source=source, text=data.decode(errors="replace")))
            return
        if is_new:  # beside the log, which may be for another program
            typer.echo(f"--- {source} ---", err=True)
        sys.stdout.buffer.write(data)
        sys.stdout.flush()


def _printed_of(handle: "AnyHandle", store: Store, what: str) -> Printed:
    if isinstance(handle, ExperimentHandle):
        return StageLog(handle, store, what)
    if not what.isdecimal():
        raise DefinitionError([f"give the number of a trial, got {what!r}"], handle.name)
    return TrialLog(handle, store, int(what))
