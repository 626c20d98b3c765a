"""Commands that show what is recorded."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from metta.sweep.cli.app import (
    LOOK,
    Json,
    Name,
    app,
    complain,
    output_of,
)
from metta.sweep.cli.output import Overview
from metta.sweep.contracts.errors import DefinitionError, StoreError


@app.command(rich_help_panel=LOOK)
def ls(json: Json = False) -> int:
    """List all sweeps and experiments of this project, the newest first."""
    return _overview(json)


@app.command(rich_help_panel=LOOK)
def show(
    name: Name,
    tree: Annotated[bool, typer.Option("--tree", help="With all that runs within it.")] = False,
    json: Json = False,
) -> None:
    """Show how far a sweep or experiment is."""
    from metta.sweep.cli.trees import TreeOutput
    from metta.sweep.client.attaching import handle_of

    handle = handle_of(name)
    if tree:
        TreeOutput(json).shown(handle)
    else:
        output_of(handle, json).shown(handle)


@app.command(rich_help_panel=LOOK)
def replay(
    name: Name,
    stage: Annotated[
        str | None,
        typer.Option(
            metavar="STAGE", help="Run this stage of an experiment again, here: its path, or path[turn]."
        ),
    ] = None,
    pdb: Annotated[bool, typer.Option("--pdb", help="Debug the stage when it fails.")] = False,
    json: Json = False,
) -> int:
    """Say whether all that ran under this name would go the same way with this version; runs nothing.

    With --stage, run one recorded stage again, in this process, with the input, fields and seed that it had;
    nothing is recorded.
    """
    from metta.sweep.cli.replays import ReplayOutput
    from metta.sweep.client.loop import call
    from metta.sweep.client.starts import Starts
    from metta.sweep.worker.replaying import replayed, stage_again

    output = ReplayOutput(json)
    if stage is not None:
        return output.again(stage_again(Starts(), name, stage, output.debug if pdb else None))
    if pdb:
        raise DefinitionError(["it debugs a stage: add --stage"], "--pdb")
    found = call(replayed(Starts(), name))
    output.shown(found)
    return 0 if found.is_deterministic else 1


@app.command(rich_help_panel=LOOK)
def diff(
    name: Name,
    other: Annotated[str, typer.Argument(metavar="OTHER", help="What it is compared with.")],
    json: Json = False,
) -> None:
    """Compare two experiments, or two sweeps, by what is recorded of them; 0 when that could be done."""
    from metta.sweep.cli.diffs import DiffOutput
    from metta.sweep.client.comparisons import compared
    from metta.sweep.client.settings import Settings

    DiffOutput(json).compared(compared(Settings.of_stores().store, name, other))


def _overview(json: bool) -> int:
    from metta.sweep.client.experiments import Experiments
    from metta.sweep.client.results import table_of
    from metta.sweep.client.stages import stages_of
    from metta.sweep.client.sweeps import Sweeps

    damaged: list[StoreError] = []
    sweeps = _statuses(_outermost(Sweeps().handles()), lambda handle: table_of(handle.ledger), damaged)
    experiments = _statuses(
        _outermost(Experiments().handles()), lambda handle: stages_of(handle.log), damaged
    )
    Overview(json).show(sweeps, experiments)
    return max([complain(error) for error in damaged], default=0)


def _outermost(handles: Sequence[Any]) -> list[Any]:
    """Without those that run within others, which are shown with these."""
    return [handle for handle in handles if "/" not in handle.name]


def _statuses(
    handles: Sequence[Any], read: Callable[[Any], Any], damaged: list[StoreError]
) -> dict[str, Any]:
    """How each stands, by name, the newest first; those that cannot be read are put aside."""
    found: list[tuple[float, str, Any]] = []
    for handle in handles:
        try:
            known = read(handle)
            found.append((known.at or 0.0, handle.name, handle.status_of(known)))
        except StoreError as error:  # the others can be shown all the same
            damaged.append(error)
    return {name: status for _, name, status in sorted(found, key=lambda item: item[:2], reverse=True)}
