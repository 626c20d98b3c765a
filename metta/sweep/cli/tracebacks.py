"""Tracebacks: a mistake in a user's script is shown without the frames that led to the script."""

import sys
from pathlib import Path
from traceback import print_exception, walk_tb
from types import TracebackType

import typer

OURS = tuple(str(Path(file).parent) for file in (Path(__file__).parent, typer.__file__))
"""Folders of the code that runs above the user's."""


def print_traceback(error: BaseException) -> None:
    """Print what Python would have printed, had the script been started by itself."""
    traceback = error.__traceback__
    while traceback and _is_ours(traceback):
        traceback = traceback.tb_next
    if traceback is None and not isinstance(error, SyntaxError):  # the mistake is ours
        traceback = error.__traceback__
    print_exception(type(error), error, traceback)


def script_line(error: BaseException) -> str:
    """Where in the script a mistake was made; empty when it was not made there."""
    script = getattr(sys.modules["__main__"], "__file__", None)
    lines = [line for frame, line in walk_tb(error.__traceback__) if frame.f_code.co_filename == script]
    return f"{script}, line {lines[-1]}" if lines else ""


def _is_ours(traceback: TracebackType) -> bool:
    return traceback.tb_frame.f_code.co_filename.startswith(OURS)
