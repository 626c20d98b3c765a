"""Commands that run something, and wait for it."""

import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer

from metta.sweep.cli.app import (
    RUN,
    Json,
    Name,
    app,
    sweep_of,
    watched,
)


@app.command(rich_help_panel=RUN)
def run(
    file: Annotated[
        str, typer.Argument(metavar="FILE[:NAME]", help="A script, and which of its experiments.")
    ],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="-- ARGUMENTS", help="What the script itself gets.", show_default=False),
    ] = None,
    budget: Annotated[
        int | None, typer.Option(help="Trials to start, instead of the script's budget.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="A field of the experiment; JSON or text."),
    ] = None,
    input_: Annotated[
        str | None,
        typer.Option("--input", metavar="JSON", help="What flows into the first stage."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the sweep or experiment.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue what has this name.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="In this process: breakpoints work.")] = False,
    json: Json = False,
) -> int:
    """Run the experiment of a script, and show how far it is."""
    from metta.sweep.cli.experiments import ExperimentOutput, fields_from, options_for, packed
    from metta.sweep.cli.sweeps import SweepOutput
    from metta.sweep.experiments.script import experiment_in
    from metta.sweep.experiments.sweep import SweepExperiment

    path, _, variable = file.partition(":")
    fields = fields_from(set_ or [])
    given = {"budget": budget, "input": input_, "name": name, "resume": resume}
    # what the script prints is not to stand between the JSON
    with redirect_stdout(sys.stderr) if json else nullcontext():
        experiment, options = experiment_in(Path(path), variable or None, tuple(arguments or ()), fields)
        debug = bool(options.pop("debug", False)) or debug
        options |= options_for(
            experiment, {k: v for k, v in given.items() if v is not None and v is not False}
        )
        made: Any = experiment.run(debug=True, **options) if debug else experiment.start(**options)
    if not debug:
        return watched(made, json)
    if isinstance(experiment, SweepExperiment):
        SweepOutput(json).brief(sweep_of(made.sweep_id))
    else:
        ExperimentOutput(json).value(made, packed(made) if json else None)
    return 0


@app.command(rich_help_panel=RUN)
def attach(name: Name, json: Json = False) -> int:
    """Watch a running sweep or experiment until it is over."""
    from metta.sweep.client.attaching import handle_of

    return watched(handle_of(name), json)


@app.command(rich_help_panel=RUN)
def retry(
    name: Name,
    from_stage: Annotated[
        str | None,
        typer.Option(metavar="STAGE", help="Run all again from this stage on: its path, or path[turn]."),
    ] = None,
    budget: Annotated[int | None, typer.Option(help="Trials to start in all, if that is to change.")] = None,
    json: Json = False,
) -> int:
    """Let an experiment or sweep that failed go on, with its code of now; what is recorded stays."""
    from metta.sweep.client.attaching import handle_of

    return watched(handle_of(name).retry(from_stage, budget=budget), json)
