"""The application: what all commands share, and how a mistake is told."""

import sys
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from metta.sweep.cli import completions
from metta.sweep.cli.tracebacks import script_line
from metta.sweep.contracts.errors import DefinitionError, StageFailed, SweepError, SweepFailed

if TYPE_CHECKING:
    from metta.sweep.cli.output import Output
    from metta.sweep.client.attaching import AnyHandle
    from metta.sweep.client.handle import SweepHandle
    from metta.sweep.client.starts import Starts

app = typer.Typer(
    name="sweep",
    help="Sweeps on Temporal that survive kill -9.",
    pretty_exceptions_enable=False,
)

RUN, LOOK, CHANGE, SERVE = "Run", "Look", "Change what runs", "Serve and tidy up"
"""Titles of the commands' groups in the help."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


GivenT = TypeVar("GivenT", str, list[str] | None)


def not_empty(given: GivenT) -> GivenT:
    """Refuse a name that is empty, such as that of a variable of the shell that is not set."""
    if "" in ([given] if isinstance(given, str) else given or ()):
        raise typer.BadParameter("it is empty")
    return given


Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="Name of the sweep or experiment.",
        show_default=False,
        autocompletion=completions.names,
        callback=not_empty,
    ),
]

SweepName = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="Name of the sweep.",
        show_default=False,
        autocompletion=completions.sweeps,
        callback=not_empty,
    ),
]


def starts_here() -> "Starts":
    """What is started in this project; when something cannot be set going again, that is told besides."""
    from metta.sweep.client.starts import Starts

    starts = Starts()
    tell_held_up(starts)
    return starts


def tell_held_up(starts: "Starts") -> None:
    """Say why something does not go on, if it does not."""
    if starts.note:
        typer.echo(f"note: {starts.note}", err=True)


def handle_of(name: str, starts: "Starts | None" = None) -> "AnyHandle":
    """The handle of a sweep or experiment of this project.

    Args:
        name: Its name.
        starts: What is started here; None finds that out.
    """
    from metta.sweep.client import attaching

    return attaching.handle_of(name, starts or starts_here())


def sweep_of(name: str) -> "SweepHandle":
    """The handle of a sweep of this project.

    Raises:
        DefinitionError: When an experiment is called so.
    """
    from metta.sweep.client.handle import SweepHandle

    handle = handle_of(name)
    if not isinstance(handle, SweepHandle):
        raise DefinitionError(["it is an experiment; only sweeps have trials to count"], name)
    return handle


def output_of(handle: "AnyHandle", json: bool) -> "Output[Any]":
    """What is said of a sweep or experiment."""
    from metta.sweep.cli.experiments import ExperimentOutput
    from metta.sweep.cli.sweeps import SweepOutput
    from metta.sweep.client.handle import SweepHandle

    return SweepOutput(json) if isinstance(handle, SweepHandle) else ExperimentOutput(json)


def watched(handle: "AnyHandle", json: bool) -> int:
    """Follow a sweep or experiment to its end, and print that."""
    output = output_of(handle, json)
    with aside(json):
        try:
            output.followed(handle)
        except (DefinitionError, StageFailed, SweepFailed) as error:
            complain(error)
            output.brief(handle)
            return code_of(error)
        return 0


def aside(json: bool) -> AbstractContextManager[object]:
    """Within it what user code prints does not come between the JSON that a machine reads."""
    return redirect_stdout(sys.stderr) if json else nullcontext()


def code_of(error: SweepError) -> int:
    """The exit code for an error: 2 for wrong usage, 1 for what failed."""
    return 2 if isinstance(error, DefinitionError) else 1


def complain(error: object, code: int = 1) -> int:
    """Say what is wrong.

    Returns:
        The exit code, as it was given.
    """
    typer.secho(f"error: {error}", err=True, fg="red")
    if isinstance(error, BaseException) and (where := script_line(error)):
        typer.secho(f"  at {where}", err=True)
    return code
