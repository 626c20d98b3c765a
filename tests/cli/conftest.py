"""The command called in this process: a second faster than a process of its own."""

import json
import logging
import subprocess
import sys
from typing import Any

import pytest
from jsonschema import validate

from metta.sweep.cli.main import main
from tests.docs.references import schema_of


class Caller:
    """Calls ``sweep`` here; what a script does to this process is undone."""

    def __init__(self, patch: pytest.MonkeyPatch, captured: pytest.CaptureFixture[str]) -> None:
        self._patch = patch
        self._captured = captured

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The exit code of a command, and what it printed."""
        self._captured.readouterr()  # is what was printed before
        with self._patch.context() as patch:
            patch.setitem(sys.modules, "__main__", sys.modules["__main__"])
            patch.setattr(sys, "argv", sys.argv)
            patch.setattr(sys, "path", list(sys.path))
            patch.setattr(logging.root, "handlers", list(logging.root.handlers))  # a worker has others
            patch.setattr(logging.root, "level", logging.root.level)
            with pytest.raises(SystemExit) as end:
                main(list(arguments))
        out, err = self._captured.readouterr()
        return subprocess.CompletedProcess(arguments, int(end.value.code or 0), out, err)

    def printed(self, *arguments: str) -> str:
        """What a command prints when it succeeds."""
        done = self(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def json(self, *arguments: str) -> Any:
        """What a command prints for machines when it succeeds, which has the shape that is documented."""
        [plain] = self.lines(*arguments)
        return plain

    def lines(self, *arguments: str) -> list[Any]:
        """The same of a command that prints a line for each of several things."""
        return shapes(arguments[0], self.printed(*arguments, "--json"))

    def failed(self, code: int, *arguments: str) -> tuple[list[Any], str]:
        """What a command prints for machines when it fails, which has that shape, too, and what it says."""
        done = self(*arguments, "--json")
        assert done.returncode == code, done.stderr
        return shapes(arguments[0], done.stdout), done.stderr


def shapes(command: str, printed: str) -> list[Any]:
    """The lines that a command has printed for machines, each of which has the shape that is documented."""
    lines = [json.loads(line) for line in printed.splitlines()]
    for line in lines:
        validate(line, closed(schema_of(command)))
    return lines


def closed(schema: Any) -> Any:
    """A schema that takes no fields but those it names; others may have more of them."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    more = {"additionalProperties": False} if "properties" in schema else {}
    return {**more, **{name: closed(part) for name, part in schema.items()}}


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Caller:
    """The command."""
    return Caller(monkeypatch, capsys)
