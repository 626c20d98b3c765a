"""Consoles: what a page shows to be typed, and what is printed then.

A block ``console`` of a page is typed line by line, as it stands, by ``test_consoles.py``. Lines behind a
command are what it prints. What differs each time may differ: numbers, paths, addresses and hashes. One that
cannot be typed has a line ``<!-- not run: reason -->`` before it; that of ``<!-- a walk -->`` is typed by
``test_walk.py``.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from typer.core import TyperGroup
from typer.main import get_command

import metta.sweep.cli.main  # noqa: F401  # adds the commands
from metta.sweep.cli.app import app

ROOT = Path(__file__).parents[2]
NOT_RUN = re.compile(r"<!--\s*not run\b:?\s*(?P<reason>.*?)\s*-->", re.DOTALL)
WALK = re.compile(r"<!--\s*a walk\s*-->")
LIMIT_S = 120

VARYING = (
    (re.compile(r"https?://\S+"), "URL"),
    (re.compile(r"(?<![\w.])(/[\w.-]+)+"), "PATH"),
    (re.compile(r"-[0-9a-f]{8}\b"), "-HASH"),
    (re.compile(r"\d[\d,]*(\.\d+)*(e[+-]?\d+)?( (ms|s|min|h|bytes|KiB|MiB|GiB)\b)?"), "N"),
    (re.compile(r" +"), " "),
)
"""What differs each time, and what stands in its place; columns are as wide as their numbers."""

PROGRESS = re.compile(r"N of N trials in N: .*\b(running|paused)\b|(note|next): ")
"""What a terminal shows in place, and what need not be told on each page."""


class Step(NamedTuple):
    """A command as it is typed, and the lines that are shown of what it prints; none where nothing is."""

    command: str
    shown: list[str]


class Block(NamedTuple):
    """What is typed together, and why it is not; None where it is."""

    steps: list[Step]
    reason: str | None
    is_walk: bool


def blocks(page: str) -> Iterator[Block]:
    """The consoles of a page."""
    reason, is_walk = None, False
    for token in MarkdownIt().parse(page):
        if token.type == "html_block":
            found = NOT_RUN.search(token.content)
            reason, is_walk = found and found["reason"], bool(WALK.search(token.content))
            continue
        if token.type == "fence" and token.info == "console":
            yield Block(steps(token.content), reason, is_walk)
        reason, is_walk = None, False


def steps(console: str) -> list[Step]:
    """What is typed in a console, and what is printed then."""
    found: list[Step] = []
    goes_on = False
    for line in console.splitlines():
        if goes_on:
            found[-1] = Step(f"{found[-1].command}\n{line}", [])
        elif line.startswith("$ "):
            found.append(Step(line.removeprefix("$ "), []))
        else:
            assert found, f"nothing was typed that prints {line!r}: a block of text is no console"
            found[-1].shown.append(line)
        goes_on = line.endswith("\\")
    return found


def first_program(page: str) -> str:
    """The first block in Python, also one that does not run without more."""
    return next(token.content for token in MarkdownIt().parse(page) if token.info == "python")


def typed(command: str) -> subprocess.CompletedProcess[str]:
    """Type a command where the environment was entered, and wait for its end."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", command],
        env={**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"},  # or errors would come first
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def alike(line: str) -> str:
    """A line without what differs each time.

    >>> alike("20 of 20 trials in 8.6 s: 20 completed") == alike("9 of 9 trials in 13 ms: 8 completed")
    True
    """
    for varying, word in VARYING:
        line = varying.sub(word, line)
    return line.strip()


def check_shown(step: Step, printed: str) -> None:
    """Raises when a command prints other lines than those that are shown, where some are."""
    expected = [alike(line) for line in step.shown]
    lines = [alike(line) for line in printed.splitlines()]
    lines = [line for line in lines if line in expected or not PROGRESS.match(line)]
    assert not expected or lines == expected, f"$ {step.command}\n{printed}"


def code_of(step: Step) -> int:
    """How a command ends: as something that is wrong, where that is what is shown."""
    return int(any(line.split()[:1] in (["problem"], ["error:"]) for line in step.shown))


def problem_with(command: str) -> str:
    """What is wrong with a command ``sweep ...``, which is not run; empty where nothing is."""
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    alone = re.sub(r"[|<>].*|[][]", "", command)
    first, *rest = shlex.split(alone, comments=True)[1:]
    names = [] if first.startswith("-") else first.split("/")  # `sweep run/start` stands for both
    if strange := [name for name in names if name not in group.commands]:
        return f"{command}: there is no command {', '.join(strange)}"
    found = group.commands[names[0]] if names else group
    known = {"--help"}.union(*(parameter.opts for parameter in found.params))
    options = [word.partition("=")[0] for word in (first, *rest) if word.startswith("-") and len(word) > 1]
    unknown = [option for option in options if option not in known]
    return f"{command}: there is no option {', '.join(unknown)}" if unknown else ""
