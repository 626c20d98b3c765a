"""Consoles: standard output and standard error, as terminals or as files."""

import sys

from rich.console import Console


def console_of(stderr: bool = False) -> Console:
    """Standard output, or standard error, for rich.

    It is interactive in a real terminal alone: where ``FORCE_COLOR`` is set, as CI does, rich takes any
    file for one, in which nothing can be overwritten and no width counts.
    """
    is_terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, highlight=False, force_interactive=None if is_terminal else False)
