"""The command `sweep`: parses arguments, and turns errors into exit codes."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from metta.sweep.cli.output import Output
from metta.sweep.contracts.errors import DefinitionError, SweepError

app = typer.Typer(
    name="sweep",
    help="Sweeps on Temporal that survive kill -9.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Name = Annotated[str, typer.Argument(help="Name of the sweep.", show_default=False)]


@app.command()
def run(
    file: Annotated[
        str, typer.Argument(metavar="FILE[:NAME]", help="A script, and which of its experiments.")
    ],
    budget: Annotated[
        int | None, typer.Option(help="Trials to start, instead of the script's budget.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the sweep.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the sweep of this name.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="In this process: breakpoints work.")] = False,
    json: Json = False,
) -> None:
    """Run the experiment of a script, and show how far it is."""
    from metta.sweep.experiments.script import experiment_in

    path, _, variable = file.rpartition(":") if not file.endswith(".py") else (file, "", "")
    experiment, options = experiment_in(Path(path or file), variable or None)
    given = {"budget": budget, "name": name, "resume": resume or None, "debug": debug or None}
    merged: dict[str, Any] = options | {key: value for key, value in given.items() if value is not None}
    Output(json).results(experiment.run(**merged))


@app.command()
def attach(name: Name, json: Json = False) -> None:
    """Watch a running sweep until it is over."""
    from metta.sweep.client.following import followed
    from metta.sweep.client.sweeps import Sweeps

    Output(json).results(followed(Sweeps().attach(name)))


@app.command()
def show(
    name: Annotated[str | None, typer.Argument(help="Name of the sweep; without it, all of them.")] = None,
    json: Json = False,
) -> None:
    """Show how far a sweep is, or list all sweeps of this project."""
    from metta.sweep.client.sweeps import Sweeps

    sweeps = Sweeps()
    if name is None:
        Output(json).overview(sweeps.overview())
    else:
        handle = sweeps.attach(name)
        Output(json).status(name, handle.status(), handle.ui)


@app.command()
def budget(
    name: Name,
    trials: Annotated[int | None, typer.Argument(help="Trials to start in all.", show_default=False)] = None,
    hours: Annotated[float | None, typer.Option(help="Time it may run, in hours.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Time it may run, in seconds.")] = None,
    target: Annotated[float | None, typer.Option(help="Value that is good enough.")] = None,
    json: Json = False,
) -> None:
    """Change the budget of a running sweep; limits that are not given stay."""
    from metta.sweep.client.sweeps import Sweeps
    from metta.sweep.contracts.budgets import Budget

    limits = {"trials": trials, "hours": hours, "seconds": seconds, "target": target}
    given = {key: value for key, value in limits.items() if value is not None}
    if not given:
        raise DefinitionError(["give a number of trials, --hours, --seconds or --target"], "the budget")
    control = Sweeps().attach(name).set_budget(Budget(**given))
    Output(json).control(name, control)


@app.command()
def stop(name: Name, json: Json = False) -> None:
    """Stop the running trials of a sweep and end it; everything recorded stays."""
    from metta.sweep.client.sweeps import Sweeps

    Output(json).control(name, Sweeps().attach(name).stop())


@app.command()
def dev(
    stop: Annotated[
        bool, typer.Option("--stop", help="Stop the server and all workers of this project.")
    ] = False,
) -> None:
    """Run a server, its UI and a worker for this project until Ctrl-C."""
    from rich.console import Console

    from metta.sweep.client.settings import Settings
    from metta.sweep.worker.dev import run_dev, stop_dev

    (stop_dev if stop else run_dev)(Settings.load(), Console())


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the command: exit code 1 for what failed, 2 for wrong usage."""
    sys.exit(_exit_code(lambda: app(arguments, standalone_mode=True)))


def _exit_code(command: Callable[[], object]) -> int:
    try:
        command()
    except KeyboardInterrupt:
        return 130  # what shells report for Ctrl-C
    except SweepError as error:
        typer.secho(f"error: {error}", err=True, fg="red")
        return 2 if isinstance(error, DefinitionError) else 1
    return 0
