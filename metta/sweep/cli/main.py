"""The command `sweep`: calls what is asked for, and turns errors into exit codes."""

import os
import sys
from bdb import BdbQuit
from typing import Any

import typer

# isort: off
import metta.sweep.cli.running  # each adds its commands, and this is their order in the help
import metta.sweep.cli.looking
import metta.sweep.cli.steering
import metta.sweep.cli.serving  # noqa: F401
# isort: on

from metta.sweep.cli.app import app, code_of, complain
from metta.sweep.cli.tracebacks import print_traceback
from metta.sweep.contracts.errors import SweepError

WrongUsage: Any = typer.BadParameter.__mro__[1]
"""Root of the errors of the command line's parser, which typer does not export."""

PIPE_CLOSED = 141
"""What shells report for a program whose output nobody reads any more, such as that of ``... | head``."""


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the command: exit code 1 for what failed, 2 for wrong usage."""
    try:
        code = _exit_code(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit) as end:  # the parser and rich turn the one into the other
        if not any(isinstance(error, BrokenPipeError) for error in (end, end.__context__)):
            raise
        # or Python would complain at its own end that the rest cannot be written
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = PIPE_CLOSED
    sys.exit(code)


def _exit_code(arguments: list[str]) -> int:
    try:
        return app(arguments or ["--help"], prog_name="sweep", standalone_mode=False) or 0
    except WrongUsage as error:
        command = error.ctx.command_path if error.ctx else "sweep"
        return complain(f"{error.format_message().rstrip('.')}; see {command} --help", 2)
    except SweepError as error:
        return complain(error, code_of(error))
    except (KeyboardInterrupt, BdbQuit):
        return 130  # what shells report for Ctrl-C
    except Exception as error:  # of the user's script, or ours
        print_traceback(error)
        return 1
