"""The machine that figures were measured on, and how they are printed."""

import os
import platform
from importlib.metadata import version


def machine() -> str:
    """Cores, system and versions in one line."""
    cores = len(os.sched_getaffinity(0))
    system = f"{platform.system()} {platform.machine()}"
    return f"{cores} cores, {system}, Python {platform.python_version()}, temporalio {version('temporalio')}"


def figure(number: float) -> str:
    """A number with one decimal where it is small."""
    return f"{number:.0f}" if number >= 10 else f"{number:.1f}"


def markdown(titles: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown; all columns but the first are flush right, and short rows are filled up."""
    filled = [[*row, *[""] * (len(titles) - len(row))] for row in rows]
    lines = [titles, ["---", *["---:"] * (len(titles) - 1)], *filled]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
