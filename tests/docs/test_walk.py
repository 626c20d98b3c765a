"""A person who has only the README gets from the first screen to a sweep that was killed and goes on."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from tests.cli.commands import ended, interrupt, running

README = Path(__file__).parents[2] / "README.md"

TOKENS = [
    token for token in MarkdownIt().parse(README.read_text("utf-8")) if token.type in ("fence", "html_block")
]


def first(kind: str, start: int = 0) -> str:
    return next(token.content for token in TOKENS[start:] if token.info == kind)


def steps() -> list[str]:
    """What is typed after the environment was entered, without the comments."""
    walk = next(n for n, token in enumerate(TOKENS) if "<!-- a walk -->" in token.content)
    typed = re.findall(r"^\$ (.*?)(?:\s+#.*)?$", first("console", walk), re.MULTILINE)
    assert typed.pop(0).startswith("source ")
    return typed


@pytest.mark.timeout(180)
def test_each_step_does_what_is_said(project: Path) -> None:
    (project / "svm.py").write_text(first("python"), "utf-8")
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
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command],
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return name, done.stdout + done.stderr


def watched(command: str) -> str:
    """Watch until something is to be seen."""
    with running(*command.split()[1:]) as attached:
        assert attached.stderr
        seen = ""
        while " trials in " not in seen:
            line = attached.stderr.readline()
            assert line, seen
            seen += line
        interrupt(attached)
        assert ended(attached).returncode == 130
    return seen
