"""Output: results on standard output, as tables for people or as JSON for machines."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from pydantic import BaseModel
from rich.console import RenderableType
from rich.text import Text

from metta.sweep.client.consoles import console_of
from metta.sweep.client.leaderboards import Column, Columns
from metta.sweep.client.runs import Run
from metta.sweep.contracts.experiments import ExperimentStatus
from metta.sweep.contracts.sweeps import SweepStatus
from metta.sweep.contracts.wording import duration_text, value_text

HandleT = TypeVar("HandleT", bound=Run[Any])


class Printer:
    """Prints on standard output.

    Args:
        as_json: Whether a machine reads it.
    """

    def __init__(self, as_json: bool) -> None:
        self._json = as_json
        self._console = console_of()

    def _say(self, said: RenderableType) -> None:
        self._console.print(said, soft_wrap=True, markup=False)  # a line of a file is not to be broken

    def _next(self, command: str, ui: str = "") -> None:
        self._say(Text(f"next: {command}" + (f"   UI: {ui}" if ui else ""), style="dim"))

    def _print(self, data: object) -> None:
        print(json.dumps(data))


class Output(Printer, ABC, Generic[HandleT]):
    """Prints what a command found out about something that was started."""

    @abstractmethod
    def followed(self, handle: HandleT) -> None:
        """Show how far it is until it is over, and then what came of it.

        Raises:
            SweepError: When it failed.
        """

    @abstractmethod
    def shown(self, handle: HandleT) -> None:
        """Where it stands, and what to do next."""

    @abstractmethod
    def brief(self, handle: HandleT) -> None:
        """What to do next, where all else has been said."""

    @abstractmethod
    def control(self, name: str, control: BaseModel) -> None:
        """What is now wanted of it."""


class Overview(Printer):
    """Prints what there is in a project."""

    def show(self, sweeps: Mapping[str, SweepStatus], experiments: Mapping[str, ExperimentStatus]) -> None:
        """All sweeps and experiments, the newest first."""
        if self._json:
            found = [{"sweep": name, **s.model_dump(mode="json")} for name, s in sweeps.items()]
            found += [{"experiment": name, **e.model_dump(mode="json")} for name, e in experiments.items()]
            self._print(found)
            return
        if not sweeps and not experiments:
            self._say("no sweeps yet")
            self._next("sweep run FILE")
            return
        if sweeps:
            self._say(_table_of_sweeps(sweeps))
        if sweeps and experiments:
            self._say("")
        if experiments:
            self._say(_table_of_experiments(experiments))
        self._next(f"sweep show {next(iter({**sweeps, **experiments}))}")


def _table_of_sweeps(statuses: Mapping[str, SweepStatus]) -> Columns:
    progress = [status.progress for status in statuses.values()]
    return Columns(
        [
            Column("sweep", list(statuses)),
            Column("state", [status.state for status in statuses.values()]),
            Column("trials", [str(p.counts.started) for p in progress], right=True),
            Column("failed", [str(p.counts.failed or "-") for p in progress], right=True),
            Column("time", [duration_text(p.elapsed_s) for p in progress], right=True),
            Column("best", [value_text(p.best[0].value) if p.best else "-" for p in progress], right=True),
            Column("metric", [p.metric or "-" for p in progress]),
        ]
    )


def _table_of_experiments(statuses: Mapping[str, ExperimentStatus]) -> Columns:
    return Columns(
        [
            Column("experiment", list(statuses)),
            Column("state", [status.state for status in statuses.values()]),
            Column("stages", [str(status.ended) for status in statuses.values()], right=True),
        ]
    )
