"""What the command says of what it has only started."""

from typing import Any

from metta.sweep.cli.output import Printer
from metta.sweep.cli.shapes import Started
from metta.sweep.client.following import announce
from metta.sweep.client.runs import Run


class StartOutput(Printer):
    """Prints what was started, and how it is followed."""

    def started(self, handle: Run[Any]) -> None:
        """What was started."""
        if self._json:
            self._print(Started(name=handle.name, kind=handle.what, ui=handle.ui, notes=tuple(handle.notes)))
            return
        announce(handle.name, handle.ui, handle.notes, what=handle.what)
        self._next(f"sweep attach {handle.name}", handle.ui)
