"""Sites: where in the user's code a pipeline was defined."""

import sys
from pathlib import Path
from typing import NamedTuple

_HERE = str(Path(__file__).parent)


class Site(NamedTuple):
    """A line of the user's code."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def site_of_call() -> Site:
    """The line outside this package that is calling it."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back
    return Site(frame.f_code.co_filename, frame.f_lineno)
