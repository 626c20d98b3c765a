"""What shells complete: names, numbers of trials, stages, and the words that an option takes.

Somebody has pressed a key in the middle of a line. So nothing is started for it, and nothing that is wrong is
told: where the settings cannot be read, or the store is damaged or away, there is nothing to complete.
"""

import io
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, redirect_stdout, suppress
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

import typer

if TYPE_CHECKING:
    from metta.sweep.stores.base import Store

LIMIT_S = 3.0
"""So long a store may take to answer."""

TRIALS = 1000
"""So many trials are offered, the first ones that fit: nobody looks through more."""

Told: TypeAlias = Iterable[tuple[str, str]]
"""Words with explanations, which some shells show."""

Words: TypeAlias = Iterable[str] | Told
"""What may be meant."""

Find: TypeAlias = Callable[["Store", typer.Context, str], Words]
"""Finds them in a store, by what the line says so far and the beginning of a word."""


def _quietly(find: Find) -> Callable[[typer.Context, str], list[Any]]:
    """A completion that finds nothing where something is wrong, and gives up where nobody answers."""

    def complete(ctx: typer.Context, incomplete: str) -> list[Any]:
        found: list[Any] = []

        def search() -> None:
            with suppress(Exception):
                from metta.sweep.client.settings import Settings

                found.extend(find(Settings.of_stores().store, ctx, incomplete))

        thread = Thread(target=search, daemon=True)  # of a store that hangs, it hangs to the end
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            thread.start()
            thread.join(LIMIT_S)
        return [] if thread.is_alive() else found

    return complete


def _sweeps(store: "Store") -> Told:
    return ((name, "sweep") for name in store.names())


def _experiments(store: "Store") -> Told:
    return ((name, "experiment") for name in store.experiment_names())


def _named(line: typer.Context) -> str:
    """The name that the line begins with; behind an option that wants a value, nobody has made it out yet."""
    return str(line.params.get("name") or next(iter(line.args), ""))


@_quietly
def names(store: "Store", line: typer.Context, _: str) -> Words:
    """Sweeps and experiments, without those that the line names already."""
    given = line.params.get("names") or ()
    return [word for word in (*_sweeps(store), *_experiments(store)) if word[0] not in given]


@_quietly
def sweeps(store: "Store", _: typer.Context, __: str) -> Words:
    """Sweeps."""
    return _sweeps(store)


@_quietly
def others(store: "Store", line: typer.Context, _: str) -> Words:
    """What the first name can be compared with: others of its kind."""
    kinds = [[*_sweeps(store)], [*_experiments(store)]]
    first = _named(line)
    return [word for kind in kinds if first in dict(kind) for word in kind if word[0] != first]


@_quietly
def trials(store: "Store", line: typer.Context, incomplete: str) -> Words:
    """Numbers of a sweep's trials."""
    return _trials(store, _named(line), incomplete)


@_quietly
def printed(store: "Store", line: typer.Context, incomplete: str) -> Words:
    """What may have printed something: stages of an experiment, also those that run, or trials of a sweep."""
    from metta.sweep.client.logs import printing_stages
    from metta.sweep.contracts.attempts import LOGS

    found = printing_stages(store.experiment_folder(_named(line)) / LOGS)
    return found or _trials(store, _named(line), incomplete)


@_quietly
def stages(store: "Store", line: typer.Context, _: str) -> Words:
    """Stages of an experiment that came to an end, and their runs in loops."""
    found = [*_stages(store, _named(line))]
    return dict.fromkeys([*(path for path, _ in found), *(run for _, run in found)])


def _trials(store: "Store", name: str, incomplete: str) -> Told:
    from metta.sweep.client.results import table_of

    table = table_of(store.ledger(name))
    fitting = [record for record in table.records if str(record.number).startswith(incomplete)]
    return [(str(record.number), table.status_of(record)) for record in fitting[:TRIALS]]


def _stages(store: "Store", name: str) -> Told:
    """Paths of stages, and those with the turns of the loops around them."""
    from metta.sweep.client.stages import last_entries

    return ((entry.at.path, str(entry.at)) for entry in last_entries(store.outcome_log(name)))


def formats() -> Words:
    """Formats of exports."""
    from metta.sweep.report.formats import FORMATS

    return FORMATS


def states() -> Words:
    """What may have become of a trial."""
    from metta.sweep.contracts.sweeps import TrialStatus

    return get_args(TrialStatus)


def limits() -> Words:
    """Limits of a budget."""
    from metta.sweep.contracts.budgets import Budget

    return Budget.model_fields


def allowed() -> Words:
    """What a worker may be allowed to take."""
    from metta.sweep.contracts.consent import ALLOWED

    return ALLOWED
