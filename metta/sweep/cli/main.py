"""The command `sweep`: calls what is asked for, and turns errors into exit codes."""

import gc
import os
import select
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
from metta.sweep.cli.tracebacks import print_traceback, script_line
from metta.sweep.contracts.errors import SweepError
from metta.sweep.contracts.failures import FREE_SOME, NO_ROOM

WrongUsage: Any = typer.BadParameter.__mro__[1]
"""Root of the errors of the command line's parser, which typer does not export."""

GC_THRESHOLD = 100_000
"""After so many new objects garbage is looked for, instead of 700: imports, of which nothing is garbage, and
lists of a thousand sweeps take a tenth longer with those."""

STDOUT = 1
PIPE_CLOSED = 141
"""What shells report for a program whose output nobody reads any more, such as that of ``... | head``."""


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the command.

    Its exit code is 1 for what failed, 2 for wrong usage, 130 after Ctrl-C, and 141 when nobody reads what it
    prints any more.
    """
    gc.set_threshold(GC_THRESHOLD)
    code = _exit_code(sys.argv[1:] if arguments is None else arguments)
    try:
        sys.stdout.flush()
    except OSError:  # which was told; or Python would complain at its own end that the rest cannot be written
        os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
    sys.exit(code)


def _exit_code(arguments: list[str]) -> int:
    try:
        code = app(arguments or ["--help"], prog_name="sweep", standalone_mode=False) or 0
        sys.stdout.flush()
        return code
    except WrongUsage as error:
        command = error.ctx.command_path if error.ctx else "sweep"
        return complain(f"{error.format_message().rstrip('.')}; see {command} --help", 2)
    except SweepError as error:
        return complain(error, code_of(error))
    except (KeyboardInterrupt, BdbQuit):
        return 130  # what shells report for Ctrl-C
    except SystemExit as end:
        # so the parser and rich end, without a word, wherever a pipe is broken
        if end.code == 1 and isinstance(end.__context__, BrokenPipeError):
            return _failed(end.__context__)
        raise
    except Exception as error:
        return _failed(error)


def _failed(error: Exception) -> int:
    """Tell of a mistake of the script, or of ours, unless it is only a file or the output that is closed."""
    is_scripts = bool(script_line(error))
    if isinstance(error, BrokenPipeError) and (_is_unread() or not is_scripts):
        return PIPE_CLOSED
    if isinstance(error, OSError) and error.errno in NO_ROOM and not is_scripts:
        if error.filename:
            return complain(f"no room is left for {error.filename}; {FREE_SOME}")
        return complain(f"what is printed cannot be written: {error.strerror}")
    if isinstance(error, PermissionError) and error.filename and not is_scripts:
        way = "this command changes something here: let somebody run it who may, or put the store elsewhere"
        return complain(f"{error.filename} may not be changed: {error.strerror}; {way}")
    print_traceback(error)
    return 1


def _is_unread() -> bool:
    poll = select.poll()
    poll.register(STDOUT, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))
