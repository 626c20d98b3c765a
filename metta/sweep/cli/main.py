"""The command `sweep`: parses arguments, and turns errors into exit codes."""

import sys
from bdb import BdbQuit
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metta.sweep.cli.output import Output
from metta.sweep.cli.tracebacks import print_traceback, script_line
from metta.sweep.contracts.errors import DefinitionError, StoreError, SweepError, SweepFailed

if TYPE_CHECKING:
    from pydantic import JsonValue

    from metta.sweep.client.handle import SweepHandle
    from metta.sweep.contracts.sweeps import SweepStatus

app = typer.Typer(
    name="sweep",
    help="Sweeps on Temporal that survive kill -9.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the sweep.", show_default=False)]

WrongUsage: Any = typer.BadParameter.__mro__[1]
"""Root of the errors of the command line's parser, which typer does not export."""


@app.command()
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
    name: Annotated[str | None, typer.Option(help="Name of the sweep.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the sweep of this name.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="In this process: breakpoints work.")] = False,
    json: Json = False,
) -> int:
    """Run the experiment of a script, and show how far it is."""
    from metta.sweep.client.sweeps import Sweeps
    from metta.sweep.experiments.script import experiment_in

    path, _, variable = file.partition(":")
    given = {"budget": budget, "name": name, "resume": resume, "debug": debug}
    # what the script prints is not to stand between the JSON
    with redirect_stdout(sys.stderr) if json else nullcontext():
        experiment, options = experiment_in(Path(path), variable or None, tuple(arguments or ()))
        options |= {key: value for key, value in given.items() if value not in (None, False)}
        if options.pop("debug", False):
            results = experiment.run(debug=True, **options)
            Output(json).brief(Sweeps().attach(results.sweep_id))
            return 0
        handle = experiment.start(**options)
    return _watched(handle, Output(json))


@app.command()
def attach(name: Name, json: Json = False) -> int:
    """Watch a running sweep until it is over."""
    from metta.sweep.client.sweeps import Sweeps

    return _watched(Sweeps().attach(name), Output(json))


@app.command()
def show(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Name of the sweep; without it, all of them.")
    ] = None,
    json: Json = False,
) -> int:
    """Show how far a sweep is, or list all sweeps of this project."""
    from metta.sweep.client.results import table_of
    from metta.sweep.client.sweeps import Sweeps

    sweeps, output = Sweeps(), Output(json)
    if name is not None:
        output.sweep(sweeps.attach(name))
        return 0
    found: list[tuple[float, str, SweepStatus]] = []
    damaged: list[StoreError] = []
    for handle in sweeps.handles():
        try:
            table = table_of(handle.ledger)
            found.append((table.at or 0.0, handle.sweep_id, handle.status_of(table)))
        except StoreError as error:  # the others can be shown all the same
            damaged.append(error)
    output.overview({name: status for _, name, status in sorted(found, reverse=True)})
    return max([_complain(error) for error in damaged], default=0)


@app.command()
def budget(
    name: Name,
    trials: Annotated[
        int | None, typer.Argument(metavar="[TRIALS]", help="Trials to start in all.", show_default=False)
    ] = None,
    hours: Annotated[float | None, typer.Option(help="Time it may run, in hours.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Time it may run, in seconds.")] = None,
    target: Annotated[float | None, typer.Option(help="Value that is good enough.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Steps that all trials together may train.")] = None,
    cost: Annotated[float | None, typer.Option(help="What all trials together may cost.")] = None,
    json: Json = False,
) -> None:
    """Change the budget of a running sweep; limits that are not given stay."""
    from metta.sweep.client.sweeps import Sweeps
    from metta.sweep.contracts.budgets import budget_from

    limits = {
        "trials": trials,
        "hours": hours,
        "seconds": seconds,
        "target": target,
        "epochs": epochs,
        "cost": cost,
    }
    given: dict[str, JsonValue] = {key: value for key, value in limits.items() if value is not None}
    if not given:
        options = ", ".join(f"--{name}" for name in limits if name != "trials")
        raise DefinitionError([f"give a number of trials, or one of {options}"], "the budget")
    wanted = budget_from(given)
    Output(json).control(name, Sweeps().attach(name).set_budget(wanted))


@app.command()
def concurrency(
    name: Name,
    trials: Annotated[
        int, typer.Argument(help="Trials at the same time; 0 leaves it to scheduler and executor.")
    ],
    json: Json = False,
) -> None:
    """Change how many trials of a running sweep may run at the same time."""
    from metta.sweep.client.sweeps import Sweeps

    Output(json).control(name, Sweeps().attach(name).set_concurrency(trials or None))


@app.command()
def pause(
    name: Name,
    now: Annotated[
        bool, typer.Option("--now", help="Interrupt running trials; they go on from their checkpoints.")
    ] = False,
    json: Json = False,
) -> None:
    """Start nothing new until the sweep is resumed; paused time is not counted."""
    from metta.sweep.client.sweeps import Sweeps

    Output(json).control(name, Sweeps().attach(name).pause(now))


@app.command()
def resume(name: Name, json: Json = False) -> None:
    """Go on with a paused sweep."""
    from metta.sweep.client.sweeps import Sweeps

    Output(json).control(name, Sweeps().attach(name).resume())


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
    json: Json = False,
) -> None:
    """Run a server, its UI and a worker for this project until Ctrl-C."""
    from metta.sweep.client.consoles import console_of
    from metta.sweep.client.settings import Settings
    from metta.sweep.worker.dev import run_dev, stop_dev

    (stop_dev if stop else run_dev)(Settings.load(), console_of(), json)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the command: exit code 1 for what failed, 2 for wrong usage."""
    sys.exit(_exit_code(sys.argv[1:] if arguments is None else arguments))


def _exit_code(arguments: list[str]) -> int:
    try:
        return app(arguments or ["--help"], prog_name="sweep", standalone_mode=False) or 0
    except WrongUsage as error:
        command = error.ctx.command_path if error.ctx else "sweep"
        return _complain(f"{error.format_message().rstrip('.')}; see {command} --help", 2)
    except SweepError as error:
        return _complain(error, 2 if isinstance(error, DefinitionError) else 1)
    except (KeyboardInterrupt, BdbQuit):
        return 130  # what shells report for Ctrl-C
    except Exception as error:  # of the user's script, or ours
        print_traceback(error)
        return 1


def _watched(handle: "SweepHandle", output: Output) -> int:
    """Follow a sweep to its end, and print that."""
    from metta.sweep.client.following import followed

    try:
        followed(handle)
    except SweepFailed as error:
        _complain(error)
        output.brief(handle)
        return 1
    output.sweep(handle)
    return 0


def _complain(error: object, code: int = 1) -> int:
    typer.secho(f"error: {error}", err=True, fg="red")
    if isinstance(error, BaseException) and (where := script_line(error)):
        typer.secho(f"  at {where}", err=True)
    return code
