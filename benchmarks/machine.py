"""The machine that figures were measured on."""

import os
import platform
from importlib.metadata import version


def machine() -> str:
    """Cores, system and versions in one line."""
    cores = len(os.sched_getaffinity(0))
    system = f"{platform.system()} {platform.machine()}"
    return f"{cores} cores, {system}, Python {platform.python_version()}, temporalio {version('temporalio')}"


def markdown(titles: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown; all columns but the first are flush right."""
    lines = [titles, ["---", *["---:"] * (len(titles) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
