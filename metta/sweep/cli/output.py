"""Output: results on standard output, as tables for people or as JSON for machines."""

import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from pydantic import BaseModel
from rich.console import RenderableType
from rich.text import Text

from metta.sweep.client.consoles import console_of
from metta.sweep.client.leaderboards import Column
from metta.sweep.client.runs import Run

HandleT = TypeVar("HandleT", bound=Run[Any])


class Printer:
    """Prints on standard output.

    Args:
        as_json: Whether a machine reads it.
    """

    def __init__(self, as_json: bool) -> None:
        self._json = as_json
        self._machine = sys.stdout  # also within `aside`
        self._console = console_of()

    def _say(self, said: RenderableType) -> None:
        self._console.print(said, soft_wrap=True, markup=False)  # a line of a file is not to be broken

    def _params(self, params: Mapping[str, Any]) -> None:
        """Parameters in full, to be copied."""
        names = Column("", [f"  {name}" for name in params])
        for n, value in enumerate(params.values(), 1):
            self._say(f"{names.line(n)} {json.dumps(value)}")

    def _next(self, command: str, ui: str = "") -> None:
        self._say(Text(f"next: {command}" + (f"   UI: {ui}" if ui else ""), style="dim"))

    def _print(self, shape: BaseModel | Sequence[BaseModel]) -> None:
        """One line of JSON, of a shape that is documented."""
        plain = (
            shape.model_dump(mode="json")
            if isinstance(shape, BaseModel)
            else [each.model_dump(mode="json") for each in shape]
        )
        print(json.dumps(plain), file=self._machine, flush=True)


class Output(Printer, ABC, Generic[HandleT]):
    """Prints what a command found out about something that was started."""

    @abstractmethod
    def followed(self, handle: HandleT) -> None:
        """Show how far it is until it is over, and then what came of it.

        Raises:
            SweepError: When it failed.
        """

    @abstractmethod
    def shown(self, handle: HandleT, as_recorded: bool = False) -> None:
        """Where it stands, and what to do next.

        Args:
            handle: What it is.
            as_recorded: Whether nobody is asked whether it runs.

        Raises:
            ServerError: When nobody can tell whether it runs; nothing is printed then.
        """

    @abstractmethod
    def brief(self, handle: HandleT) -> None:
        """What to do next, where all else has been said."""

    @abstractmethod
    def control(self, name: str, control: BaseModel) -> None:
        """What is now wanted of it."""
