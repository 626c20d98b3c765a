"""A person who has only the README gets from the first screen to a sweep that was killed and goes on."""

import re
import shlex
from pathlib import Path

import pytest

from tests.cli.commands import ended, interrupt, running
from tests.docs.consoles import ROOT, blocks, first_program, typed

README = ROOT / "README.md"


def steps() -> list[str]:
    """What is typed after the environment was entered."""
    [walk] = [block for block in blocks(README.read_text("utf-8")) if block.is_walk]
    first, *others = [step.command for step in walk.steps]
    assert first.startswith("source ")
    return others


@pytest.mark.timeout(180)
def test_each_step_does_what_is_said(project: Path) -> None:
    (project / "svm.py").write_text(first_program(README.read_text("utf-8")), "utf-8")
    said = dict(map(step, steps()))
    assert re.search(r"^sweep svm  http://127.0.0.1:\d+/namespaces/\S+/svm$", said["sweep start"], re.M)
    assert "with the budget trials=1000" in said["sweep budget"]
    assert "svm is running" in said["sweep show"]
    assert "of 1000 trials" in said["sweep attach"]
    assert said["sweep trials"].count("completed") > 0
    assert said["sweep dev"].endswith("the server\n")


def step(command: str) -> tuple[str, str]:
    """Type it, and wait for its end: its first two words, and what it prints."""
    name = " ".join(command.split()[:2])
    if name == "sweep attach":
        return name, watched(command)
    done = typed(command)
    assert done.returncode == 0, f"{command}: {done.stdout}"
    return name, done.stdout


def watched(command: str) -> str:
    """Watch until something is to be seen."""
    with running(*shlex.split(command, comments=True)[1:]) as attached:
        assert attached.stderr
        seen = ""
        while " trials in " not in seen:
            line = attached.stderr.readline()
            assert line, seen
            seen += line
        interrupt(attached)
        assert ended(attached).returncode == 130
    return seen
