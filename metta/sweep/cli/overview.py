"""What the command says of all that a project has."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from time import monotonic, process_time, sleep
from typing import TypeVar

from rich.console import Group
from rich.live import Live
from rich.text import Text

from metta.sweep.cli.output import Printer
from metta.sweep.cli.shapes import ExperimentListed, SweepListed
from metta.sweep.client.leaderboards import Column, Columns
from metta.sweep.client.listing import Listing, Lookout
from metta.sweep.client.live import best_known, is_live
from metta.sweep.client.loop import call
from metta.sweep.client.starts import Starts
from metta.sweep.contracts.errors import StoreAway
from metta.sweep.contracts.experiments import ExperimentStatus
from metta.sweep.contracts.sweeps import ENDED, SweepStatus
from metta.sweep.contracts.wording import duration_text, value_text

StatusT = TypeVar("StatusT")

ROWS = 20
"""So many of each kind are shown where they are to fit on a screen."""

LOOK_S = 1.0

REVIVE_S = 5.0
"""So often it is seen to that what is to run has a server and workers."""

SHARE = 1 / 25
"""So much of a core it may take to look, however much there is to be seen."""


class Overview(Printer):
    """Prints how all stand."""

    def show(self, listing: Listing) -> None:
        """All sweeps and experiments, the newest first."""
        if self._json:
            self._print([*_shapes(listing)])
            return
        if not listing.names:
            if listing.damaged:
                return
            self._say("no sweeps yet")
            self._next("sweep run FILE")
            return
        self._say(_tables(listing))
        self._next(f"sweep show {listing.names[0]}")

    def watch(self, starts: Starts, names: list[str]) -> int:
        """Show it in place, or a line for each that has changed, until all that is named is over.

        Args:
            starts: Of the project.
            names: What is looked at; none means everything, and it ends with Ctrl-C.

        Returns:
            The exit code: 1 when something that is named failed, or cannot be read.

        Raises:
            SweepNotFound: When a name is unknown.
        """
        lookout = Lookout(starts, names)
        noted, is_bad = set[str](), False
        with self._shows() as show:
            for _ in _moments(starts):
                try:
                    listing = call(lookout.look())
                except StoreAway as error:  # what runs waits for it, too
                    _note([str(error)], noted)
                    continue
                _note([*map(str, listing.damaged), *filter(None, [listing.doubt or starts.held_up])], noted)
                show(listing)
                is_bad = bool(listing.damaged) or any(s.state == "failed" for s in listing.statuses)
                if names and not listing.doubt and all(s.state in ENDED for s in listing.statuses):
                    break
        if not self._json:
            self._next(f"sweep show {names[0]}" if names else "sweep ls")
        return int(is_bad)

    @contextmanager
    def _shows(self) -> Iterator[Callable[[Listing], None]]:
        if self._json or not is_live(self._console):
            said: dict[str, str] = {}
            yield lambda listing: self._changes(listing, said)
            return
        with Live(console=self._console, auto_refresh=False) as live:
            yield lambda listing: live.update(_tables(listing, ROWS), refresh=True)

    def _changes(self, listing: Listing, said: dict[str, str]) -> None:
        """Say of each what has changed since it was said."""
        for shape in _shapes(listing):
            name = shape.sweep if isinstance(shape, SweepListed) else shape.experiment
            if said.get(name) == (line := _line(shape)):
                continue
            said[name] = line
            if self._json:
                self._print(shape)
            else:
                print(line, flush=True)


def _note(notes: Sequence[str], noted: set[str]) -> None:
    """Say once what stands in the way of looking."""
    for note in notes:
        if note not in noted:
            print(f"note: {note}", file=sys.stderr, flush=True)
    noted.clear()
    noted.update(notes)


def _moments(starts: Starts) -> Iterator[None]:
    """When to look: now, and again after a while; the longer looking takes, the more rarely.

    What somebody kills meanwhile is set going again.
    """
    revived = monotonic()
    while True:
        began = process_time()
        if monotonic() - revived > REVIVE_S:
            starts.revive()
            revived = monotonic()
        yield
        sleep(max(LOOK_S, (process_time() - began) / SHARE))


def _shapes(listing: Listing) -> Iterator[SweepListed | ExperimentListed]:
    for name, sweep in listing.sweeps.items():
        yield SweepListed(sweep=name, **dict(sweep))
    for name, experiment in listing.experiments.items():
        yield ExperimentListed(experiment=name, **dict(experiment))


def _line(shape: SweepListed | ExperimentListed) -> str:
    """One of them in one line."""
    if isinstance(shape, ExperimentListed):
        return f"{shape.experiment}: {shape.state}, {shape.ended} stages"
    progress = shape.progress
    counts = ", ".join(f"{n} {name}" for name, n in progress.counts if n) or "no trials yet"
    return f"{shape.sweep}: {shape.state}, {counts}{best_known(progress)}"


def _tables(listing: Listing, limit: int | None = None) -> Group:
    """Sweeps and experiments below one another, and how many are not shown."""
    sweeps, experiments = _first(listing.sweeps, limit), _first(listing.experiments, limit)
    parts: list[Columns | Text] = [_table_of_sweeps(sweeps)] if sweeps else []
    parts += [Text()] if sweeps and experiments else []
    parts += [_table_of_experiments(experiments)] if experiments else []
    if left := len(listing.names) - len(sweeps) - len(experiments):
        parts.append(Text(f"not shown: {left} older ones; `sweep ls` lists all", style="dim"))
    return Group(*parts)


def _first(statuses: Mapping[str, StatusT], limit: int | None) -> dict[str, StatusT]:
    return dict(islice(statuses.items(), limit))


def _table_of_sweeps(statuses: Mapping[str, SweepStatus]) -> Columns:
    progress = [status.progress for status in statuses.values()]
    return Columns(
        [
            Column("sweep", list(statuses)),
            Column("state", [status.state for status in statuses.values()]),
            Column("trials", [_trials(status) for status in statuses.values()], right=True),
            Column("running", [str(p.counts.running or "-") for p in progress], right=True),
            Column("failed", [str(p.counts.failed or "-") for p in progress], right=True),
            Column("time", [duration_text(p.elapsed_s) for p in progress], right=True),
            Column("best", [value_text(p.best[0].value) if p.best else "-" for p in progress], right=True),
            Column("metric", [p.metric or "-" for p in progress]),
        ]
    )


def _trials(status: SweepStatus) -> str:
    """How many were started, of how many that may be."""
    limit = status.control.budget.trials
    return f"{status.progress.counts.started}" + (f"/{limit}" if limit else "")


def _table_of_experiments(statuses: Mapping[str, ExperimentStatus]) -> Columns:
    return Columns(
        [
            Column("experiment", list(statuses)),
            Column("state", [status.state for status in statuses.values()]),
            Column("stages", [str(status.ended) for status in statuses.values()], right=True),
        ]
    )
