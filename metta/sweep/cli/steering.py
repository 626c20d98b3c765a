"""Commands that change what runs."""

from typing import TYPE_CHECKING, Annotated

import typer

from metta.sweep.cli import completions
from metta.sweep.cli.app import CHANGE, Json, Name, SweepName, app, handle_of, output_of, sweep_of
from metta.sweep.contracts.errors import DefinitionError, nearest

if TYPE_CHECKING:
    from pydantic import JsonValue


@app.command(rich_help_panel=CHANGE)
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
    lift: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LIMIT",
            help="A limit that holds no longer, such as hours; may be repeated.",
            autocompletion=completions.limits,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Change the budget of a running sweep or experiment; limits that are not given stay."""
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
    lifted = dict.fromkeys(lift or ())
    problems = [f"unknown limit {name!r}{nearest(name, [*limits])}" for name in lifted if name not in limits]
    problems += [f"{name}: give it, or lift it" for name in lifted if name in given]
    if problems:
        raise DefinitionError(problems, "--lift")
    if not given and not lifted:
        options = ", ".join(f"--{name}" for name in [*limits, "lift"] if name != "trials")
        raise DefinitionError([f"give a number of trials, or one of {options}"], "the budget")
    wanted = budget_from({**given, **lifted})
    output_of(handle := handle_of(name), json).control(name, handle.set_budget(wanted))


@app.command(rich_help_panel=CHANGE)
def concurrency(
    name: SweepName,
    trials: Annotated[
        int, typer.Argument(min=0, help="Trials at the same time; 0 leaves it to scheduler and executor.")
    ],
    json: Json = False,
) -> None:
    """Change how many trials of a running sweep may run at the same time."""
    output_of(handle := sweep_of(name), json).control(name, handle.set_concurrency(trials or None))


@app.command(rich_help_panel=CHANGE)
def pause(
    name: Name,
    now: Annotated[
        bool, typer.Option("--now", help="Interrupt running trials; they go on from their checkpoints.")
    ] = False,
    json: Json = False,
) -> None:
    """Start nothing new until it is resumed; paused time is not counted."""
    if now:
        output_of(sweep := sweep_of(name), json).control(name, sweep.pause(now=True))
        return
    output_of(handle := handle_of(name), json).control(name, handle.pause())


@app.command(rich_help_panel=CHANGE)
def resume(name: Name, json: Json = False) -> None:
    """Go on with what is paused."""
    handle = handle_of(name)
    output_of(handle, json).control(name, handle.resume())


@app.command(rich_help_panel=CHANGE)
def stop(name: Name, json: Json = False) -> None:
    """End it: running trials stop, running stages come to their end; everything recorded stays."""
    handle = handle_of(name)
    output_of(handle, json).control(name, handle.stop())
