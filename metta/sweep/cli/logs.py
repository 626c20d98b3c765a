"""What the command shows of what trials and stages print."""

import codecs
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from time import monotonic, sleep
from typing import TYPE_CHECKING

import typer

from metta.sweep.cli.app import tell_held_up
from metta.sweep.cli.output import Printer
from metta.sweep.cli.shapes import Piece
from metta.sweep.client.experiment_handle import ExperimentHandle
from metta.sweep.client.logs import Printed, StageLog, TrialLog
from metta.sweep.contracts.errors import DefinitionError, ServerError, StoreAway
from metta.sweep.contracts.sweeps import ENDED
from metta.sweep.stores.base import Store

if TYPE_CHECKING:
    from metta.sweep.client.attaching import AnyHandle
    from metta.sweep.client.starts import Starts

LOOK_S = 0.5

ASK_S = 5.0
"""So often it is asked whether anybody still works on it, which no record tells."""

_utf8 = codecs.getincrementaldecoder("utf-8")


class LogOutput(Printer):
    """Prints logs as they are, or as a line of JSON for each piece."""

    def __init__(self, as_json: bool) -> None:
        super().__init__(as_json)
        self._source = self._trouble = ""
        self._decoder = _utf8("replace")  # a character may come in two pieces

    def shown(self, handle: "AnyHandle", starts: "Starts", what: str, follow: bool) -> None:
        """What was printed; where it is followed, from when it begins until nothing more can come.

        Args:
            handle: The sweep or experiment.
            starts: Of the project.
            what: Number of the trial, or path of the stage.
            follow: Whether to wait for more.

        Raises:
            DefinitionError: When there is none.
        """
        printed = _printed_of(handle, starts.store, what)
        missing = printed.missing()
        if missing and follow:
            missing = self._awaited(printed, handle, starts, missing)
        if missing:
            raise DefinitionError([missing], handle.name)
        for _ in self._moments(printed, handle, starts) if follow else (None,):
            with self._patience() if follow else nullcontext():
                for source, data in printed.more():
                    self._piece(source, data)
        if not self._source:
            typer.echo("nothing was printed", err=True)
        kind = "show" if isinstance(handle, ExperimentHandle) else "trials"
        number = "" if isinstance(handle, ExperimentHandle) else f" {what}"
        typer.echo(f"next: sweep {kind} {handle.name}{number}", err=True)

    def _awaited(self, printed: Printed, handle: "AnyHandle", starts: "Starts", missing: str) -> str:
        """Wait for it to begin; why it never did, or nothing."""
        typer.echo(f"note: {missing}; waiting for it", err=True)
        for _ in self._moments(printed, handle, starts):
            with self._patience():
                missing = printed.missing()
            if not missing:
                break
        return missing

    @contextmanager
    def _patience(self) -> Iterator[None]:
        """Within it a store that is away is told, and waited for, as what runs waits for it, too."""
        try:
            yield
            self._trouble = ""
        except StoreAway as error:
            if str(error) != self._trouble:
                typer.echo(f"note: {error}", err=True)
            self._trouble = str(error)

    def _moments(self, printed: Printed, handle: "AnyHandle", starts: "Starts") -> Iterator[None]:
        """When to read on: again and again until nothing more can come, and once after that.

        What somebody kills meanwhile is set going again.
        """
        asked, is_over = monotonic(), False
        while not is_over:
            yield
            sleep(LOOK_S)
            is_over = printed.is_over
            if not is_over and monotonic() - asked > ASK_S:
                before = starts.held_up
                starts.revive()
                if starts.held_up != before:
                    tell_held_up(starts)
                asked, is_over = monotonic(), _is_over(handle)
        yield

    def _piece(self, source: str, data: bytes) -> None:
        is_new, self._source = source != self._source, source
        if self._json:
            if is_new:
                self._decoder = _utf8("replace")
            self._print(Piece(source=source, text=self._decoder.decode(data)))
            return
        if is_new:  # beside the log, which may be for another program
            typer.echo(f"--- {source} ---", err=True)
        sys.stdout.buffer.write(data)
        sys.stdout.flush()


def _is_over(handle: "AnyHandle") -> bool:
    try:
        return handle.status().state in ENDED
    except (ServerError, StoreAway):  # it may come back
        return False


def _printed_of(handle: "AnyHandle", store: Store, what: str) -> Printed:
    if isinstance(handle, ExperimentHandle):
        return StageLog(handle, store, what)
    if not what.isdecimal():
        raise DefinitionError([f"give the number of a trial, got {what!r}"], handle.name)
    return TrialLog(handle, store, int(what))
