"""Commands that run something, and wait for it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metta.sweep.cli import completions
from metta.sweep.cli.app import (
    RUN,
    Json,
    Name,
    app,
    aside,
    handle_of,
    not_empty,
    sweep_of,
    watched,
)

if TYPE_CHECKING:
    from metta.sweep.experiments.script import Runnable


File = Annotated[
    str,
    typer.Argument(metavar="FILE[:NAME]", help="A script, and which of its experiments.", callback=not_empty),
]
Arguments = Annotated[
    list[str] | None,
    typer.Argument(metavar="-- ARGUMENTS", help="What the script itself gets.", show_default=False),
]
Trials = Annotated[int | None, typer.Option(help="Trials to start, instead of the script's budget.")]
Fields = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="A field of the experiment; JSON or text."),
]
Input = Annotated[
    str | None, typer.Option("--input", metavar="JSON", help="What flows into the first stage.")
]
NewName = Annotated[str | None, typer.Option("--name", help="Name of the sweep or experiment.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue what has this name.")]
Queue = Annotated[
    str | None, typer.Option(help="A shared queue, which `sweep worker` serves.", show_default=False)
]


@app.command(rich_help_panel=RUN)
def run(
    file: File,
    arguments: Arguments = None,
    budget: Trials = None,
    set_: Fields = None,
    input_: Input = None,
    name: NewName = None,
    resume: Resume = False,
    queue: Queue = None,
    debug: Annotated[bool, typer.Option("--debug", help="In this process: breakpoints work.")] = False,
    json: Json = False,
) -> int:
    """Run the experiment of a script, and show how far it is."""
    from metta.sweep.cli.experiments import ExperimentOutput, packed
    from metta.sweep.cli.sweeps import SweepOutput
    from metta.sweep.experiments.sweep import SweepExperiment

    given = {"budget": budget, "input": input_, "name": name, "resume": resume, "queue": queue}
    with aside(json):
        experiment, options = _defined(file, arguments, set_, given)
        debug = bool(options.pop("debug", False)) or debug
        made: Any = experiment.run(debug=True, **options) if debug else experiment.start(**options)
    if not debug:
        return watched(made, json)
    if isinstance(experiment, SweepExperiment):
        SweepOutput(json).brief(sweep_of(made.sweep_id))
    else:
        ExperimentOutput(json).value(made, packed(made) if json else None)
    return 0


@app.command(rich_help_panel=RUN)
def start(
    file: File,
    arguments: Arguments = None,
    budget: Trials = None,
    set_: Fields = None,
    input_: Input = None,
    name: NewName = None,
    resume: Resume = False,
    queue: Queue = None,
    json: Json = False,
) -> None:
    """Start the experiment of a script, and return at once."""
    from metta.sweep.cli.starts import StartOutput

    given = {"budget": budget, "input": input_, "name": name, "resume": resume, "queue": queue}
    with aside(json):
        experiment, options = _defined(file, arguments, set_, given)
        options.pop("debug", None)
        handle = experiment.start(**options)
    StartOutput(json).started(handle)


def _defined(
    file: str, arguments: list[str] | None, fields: list[str] | None, given: dict[str, Any]
) -> tuple["Runnable", dict[str, Any]]:
    """The experiment of a script, and the arguments with which it is run.

    Args:
        file: The script, and perhaps which of its experiments.
        arguments: What the script itself gets.
        fields: Fields of the experiment.
        given: Arguments of the command line, which go before those of the script.
    """
    from metta.sweep.cli.experiments import fields_from, options_for
    from metta.sweep.experiments.script import experiment_in

    path, _, variable = file.partition(":")
    found = experiment_in(Path(path), variable or None, tuple(arguments or ()), fields_from(fields or []))
    said = {name: value for name, value in given.items() if value is not None and value is not False}
    return found[0], found[1] | options_for(found[0], said)


@app.command(rich_help_panel=RUN)
def attach(name: Name, json: Json = False) -> int:
    """Watch a running sweep or experiment until it is over."""
    return watched(handle_of(name), json)


@app.command(rich_help_panel=RUN)
def retry(
    name: Name,
    from_stage: Annotated[
        str | None,
        typer.Option(
            metavar="STAGE",
            help="Run all again from this stage on: its path, or a run of it, refine/train[2,0].",
            autocompletion=completions.stages,
        ),
    ] = None,
    budget: Annotated[int | None, typer.Option(help="Trials to start in all, if that is to change.")] = None,
    json: Json = False,
) -> int:
    """Let an experiment or sweep that failed go on, with its code of now; what is recorded stays."""
    return watched(handle_of(name).retry(from_stage, budget=budget), json)
