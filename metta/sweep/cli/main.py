"""The command `sweep`: parses arguments, and turns errors into exit codes."""

import sys
from bdb import BdbQuit
from collections.abc import Callable, Sequence
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metta.sweep.cli.output import Overview
from metta.sweep.cli.tracebacks import print_traceback, script_line
from metta.sweep.contracts.errors import DefinitionError, StageFailed, StoreError, SweepError, SweepFailed

if TYPE_CHECKING:
    from pydantic import JsonValue

    from metta.sweep.cli.output import Output
    from metta.sweep.client.attaching import AnyHandle
    from metta.sweep.client.handle import SweepHandle

app = typer.Typer(
    name="sweep",
    help="Sweeps on Temporal that survive kill -9.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the sweep or experiment.", show_default=False)
]

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
        return _watched(made, json)
    if isinstance(experiment, SweepExperiment):
        SweepOutput(json).brief(_sweep(made.sweep_id))
    else:
        ExperimentOutput(json).value(made, packed(made) if json else None)
    return 0


@app.command()
def attach(name: Name, json: Json = False) -> int:
    """Watch a running sweep or experiment until it is over."""
    from metta.sweep.client.attaching import handle_of

    return _watched(handle_of(name), json)


@app.command()
def show(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="Name of the sweep or experiment; without it, all of them."),
    ] = None,
    tree: Annotated[bool, typer.Option("--tree", help="With all that runs within it.")] = False,
    json: Json = False,
) -> int:
    """Show how far a sweep or experiment is, or list all of this project."""
    from metta.sweep.cli.trees import TreeOutput
    from metta.sweep.client.attaching import handle_of

    if name is None:
        if tree:
            raise DefinitionError(["say of which sweep or experiment: sweep show NAME --tree"], "--tree")
        return _overview(json)
    handle = handle_of(name)
    if tree:
        TreeOutput(json).shown(handle)
    else:
        _output(handle, json).shown(handle)
    return 0


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
    """Change the budget of a running sweep or experiment; limits that are not given stay."""
    from metta.sweep.client.attaching import handle_of
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
    _output(handle := handle_of(name), json).control(name, handle.set_budget(wanted))


@app.command()
def concurrency(
    name: Name,
    trials: Annotated[
        int, typer.Argument(help="Trials at the same time; 0 leaves it to scheduler and executor.")
    ],
    json: Json = False,
) -> None:
    """Change how many trials of a running sweep may run at the same time."""
    _output(handle := _sweep(name), json).control(name, handle.set_concurrency(trials or None))


@app.command()
def pause(
    name: Name,
    now: Annotated[
        bool, typer.Option("--now", help="Interrupt running trials; they go on from their checkpoints.")
    ] = False,
    json: Json = False,
) -> None:
    """Start nothing new until it is resumed; paused time is not counted."""
    from metta.sweep.client.attaching import handle_of

    handle = handle_of(name)
    control = _sweep(name).pause(now) if now else handle.pause()
    _output(handle, json).control(name, control)


@app.command()
def resume(name: Name, json: Json = False) -> None:
    """Go on with what is paused."""
    from metta.sweep.client.attaching import handle_of

    handle = handle_of(name)
    _output(handle, json).control(name, handle.resume())


@app.command()
def stop(name: Name, json: Json = False) -> None:
    """End it: running trials stop, running stages come to their end; everything recorded stays."""
    from metta.sweep.client.attaching import handle_of

    handle = handle_of(name)
    _output(handle, json).control(name, handle.stop())


@app.command()
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

    return _watched(handle_of(name).retry(from_stage, budget=budget), json)


@app.command()
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


@app.command()
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


@app.command()
def gc(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Sweeps and experiments to look at; without any, all."),
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete it; else it is only shown.")] = False,
    older_than: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="Age of values, blobs and drafts that may go: 90m, 12h, 7d; at least 1h."
        ),
    ] = "1d",
    json: Json = False,
) -> int:
    """Show what nobody needs any more in this project's store, or delete it."""
    from metta.sweep.cli.garbage import GarbageOutput, age_from
    from metta.sweep.client.sweeps import Sweeps

    found = Sweeps().gc(*(names or ()), delete=delete, older_than=age_from(older_than))
    GarbageOutput(json).shown(found, names or (), older_than)
    return max([_complain(problem) for problem in found.problems], default=0)


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
        return _complain(error, _code_of(error))
    except (KeyboardInterrupt, BdbQuit):
        return 130  # what shells report for Ctrl-C
    except Exception as error:  # of the user's script, or ours
        print_traceback(error)
        return 1


def _sweep(name: str) -> "SweepHandle":
    """The handle of a sweep.

    Raises:
        DefinitionError: When an experiment is called so.
    """
    from metta.sweep.client.attaching import handle_of
    from metta.sweep.client.handle import SweepHandle

    handle = handle_of(name)
    if not isinstance(handle, SweepHandle):
        raise DefinitionError(["it is an experiment; only sweeps have trials to count"], name)
    return handle


def _output(handle: "AnyHandle", json: bool) -> "Output[Any]":
    from metta.sweep.cli.experiments import ExperimentOutput
    from metta.sweep.cli.sweeps import SweepOutput
    from metta.sweep.client.handle import SweepHandle

    return SweepOutput(json) if isinstance(handle, SweepHandle) else ExperimentOutput(json)


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
    return max([_complain(error) for error in damaged], default=0)


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


def _watched(handle: "AnyHandle", json: bool) -> int:
    """Follow a sweep or experiment to its end, and print that."""
    output = _output(handle, json)
    try:
        output.followed(handle)
    except (DefinitionError, StageFailed, SweepFailed) as error:
        _complain(error)
        output.brief(handle)
        return _code_of(error)
    return 0


def _code_of(error: SweepError) -> int:
    return 2 if isinstance(error, DefinitionError) else 1


def _complain(error: object, code: int = 1) -> int:
    typer.secho(f"error: {error}", err=True, fg="red")
    if isinstance(error, BaseException) and (where := script_line(error)):
        typer.secho(f"  at {where}", err=True)
    return code
