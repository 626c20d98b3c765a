"""Commands that show what is recorded."""

from pathlib import Path
from typing import Annotated

import typer

from metta.sweep.cli import completions
from metta.sweep.cli.app import (
    LOOK,
    Json,
    Name,
    SweepName,
    app,
    aside,
    complain,
    handle_of,
    not_empty,
    output_of,
    starts_here,
    sweep_of,
    tell_held_up,
)
from metta.sweep.contracts.errors import DefinitionError, ServerError


@app.command(rich_help_panel=LOOK)
def ls(json: Json = False) -> int:
    """List all sweeps and experiments of this project, the newest first."""
    from metta.sweep.cli.overview import Overview
    from metta.sweep.client.listing import Lookout
    from metta.sweep.client.loop import call
    from metta.sweep.client.starts import Starts

    starts = Starts()
    found = call(Lookout(starts).look())
    Overview(json).show(found)
    if found.doubt:
        complain(f"what is shown is what was recorded; nobody can tell what runs: {found.doubt}")
    else:
        tell_held_up(starts)
    for damage in found.damaged:
        complain(damage)
    return 1 if found.doubt or found.damaged else 0


@app.command(rich_help_panel=LOOK)
def show(
    name: Name,
    tree: Annotated[bool, typer.Option("--tree", help="With all that runs within it.")] = False,
    json: Json = False,
) -> int:
    """Show how far a sweep or experiment is."""
    from metta.sweep.cli.trees import TreeOutput

    handle = handle_of(name)
    if tree:
        TreeOutput(json).shown(handle)
        return 0
    output = output_of(handle, json)
    try:
        output.shown(handle)
    except ServerError as error:
        output.shown(handle, as_recorded=True)
        return complain(f"what is shown is what was recorded; nobody can tell whether it runs: {error}")
    return 0


@app.command(rich_help_panel=LOOK)
def watch(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Sweeps and experiments; without any, all.",
            autocompletion=completions.names,
            callback=not_empty,
        ),
    ] = None,
    json: Json = False,
) -> int:
    """Show how all stand, in place, until those that are named are over; Ctrl-C only ends the looking."""
    from metta.sweep.cli.overview import Overview
    from metta.sweep.client.starts import Starts

    return Overview(json).watch(Starts(), names or [])


@app.command(rich_help_panel=LOOK)
def trials(
    name: SweepName,
    number: Annotated[
        int | None,
        typer.Argument(
            metavar="[NUMBER]",
            help="All about this one.",
            show_default=False,
            autocompletion=completions.trials,
        ),
    ] = None,
    status: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STATE",
            help="Only those that are failed, running ...",
            autocompletion=completions.states,
        ),
    ] = None,
    best: Annotated[bool, typer.Option("--best", help="The best ones first; else the latest last.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="So many at most; 0 means all.")] = 50,
    json: Json = False,
) -> None:
    """List trials of a sweep, or show one with its reports and its failure."""
    from metta.sweep.cli.trials import TrialOutput

    if number is None:
        TrialOutput(json).listed(sweep_of(name), status or (), best, limit)
    elif status or best:
        raise DefinitionError(["they choose among trials, and one is given"], "--status and --best")
    else:
        TrialOutput(json).shown(sweep_of(name), number)


@app.command(rich_help_panel=LOOK)
def logs(
    name: Name,
    what: Annotated[
        str,
        typer.Argument(
            metavar="TRIAL|STAGE",
            help="Number of a trial, or a stage of an experiment.",
            autocompletion=completions.printed,
        ),
    ],
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Wait until it begins, and for more until nothing can come."),
    ] = False,
    json: Json = False,
) -> None:
    """Print what a trial has printed, in all its attempts, or a stage of an experiment."""
    from metta.sweep.cli.logs import LogOutput

    starts = starts_here()
    LogOutput(json).shown(handle_of(name, starts), starts, what, follow)


@app.command(rich_help_panel=LOOK)
def replay(
    name: Name,
    stage: Annotated[
        str | None,
        typer.Option(
            metavar="STAGE",
            help="Run this stage of an experiment again, here: its path, or a run of it, refine/train[2,0].",
            autocompletion=completions.stages,
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
        with aside(json):
            again = stage_again(Starts(), name, stage, output.debug if pdb else None)
        return output.again(name, again, pdb)
    if pdb:
        raise DefinitionError(["it debugs a stage: add --stage"], "--pdb")
    found = call(replayed(Starts(), name))
    output.shown(found)
    return 0 if found.is_deterministic else 1


@app.command(rich_help_panel=LOOK)
def diff(
    name: Name,
    other: Annotated[
        str,
        typer.Argument(
            metavar="OTHER",
            help="What it is compared with.",
            autocompletion=completions.others,
            callback=not_empty,
        ),
    ],
    json: Json = False,
) -> None:
    """Compare two experiments, or two sweeps, by what is recorded of them; 0 when that could be done."""
    from metta.sweep.cli.diffs import DiffOutput
    from metta.sweep.client.comparisons import compared
    from metta.sweep.client.settings import Settings

    DiffOutput(json).compared(compared(Settings.of_stores().store, name, other))


@app.command(rich_help_panel=LOOK)
def export(
    name: Name,
    format: Annotated[
        str | None,
        typer.Option(
            metavar="csv|jsonl|parquet",
            help="What is written; else the file's ending says it.",
            autocompletion=completions.formats,
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to; else to standard output.")
    ] = None,
    reports: Annotated[
        bool, typer.Option("--reports", help="One row for each report, instead of each trial.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there already.")] = False,
    json: Json = False,
) -> None:
    """Write the trials of a sweep, or the stages of an experiment, as CSV, JSON Lines or Parquet."""
    from metta.sweep.cli.exports import ExportOutput
    from metta.sweep.client.settings import Settings
    from metta.sweep.report.exports import Export

    export = Export(Settings.of_stores().store, name, reports)
    ExportOutput(json).exported(export, format, output, force)
