"""Commands that are given wrongly: what each lacks, does not know, or cannot read."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import metta.sweep.cli.main  # noqa: F401 - adds the commands
from metta.sweep.cli.app import app
from tests.cli.conftest import Caller
from tests.cli.records import recorded

COMMANDS: Mapping[str, Any] = vars(get_command(app))["commands"]

NEEDED: Mapping[str, list[str]] = {
    name: [param.metavar or param.name for param in command.params if param.required]
    for name, command in COMMANDS.items()
}
"""What each command cannot do without."""


def refused(call: Caller, *arguments: str) -> str:
    """What is said of wrong usage, in one line."""
    done = call(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    return done.stderr.rstrip()


@pytest.mark.parametrize("command", COMMANDS)
def test_an_option_that_nobody_knows_is_told(project: Path, call: Caller, command: str) -> None:
    given = ["x"] * len(NEEDED[command])
    told = refused(call, command, *given, "--nothing-like-it")
    assert told.startswith("error: No such option: --nothing-like-it")
    assert told.endswith(f"; see sweep {command} --help")


@pytest.mark.parametrize("command", [name for name, needed in NEEDED.items() if needed])
def test_an_argument_that_is_missing_is_told(project: Path, call: Caller, command: str) -> None:
    for count, missing in enumerate(NEEDED[command]):
        told = refused(call, command, *["1"] * count)
        assert told == f"error: Missing argument '{missing}'; see sweep {command} --help"


def with_an_empty_name() -> Iterator[list[str]]:
    """Every command that takes names, with one that is empty in each place."""
    for command, needed in NEEDED.items():
        for place, argument in enumerate(needed):
            if argument in ("NAME", "OTHER", "FILE[:NAME]"):
                given = ["1"] * len(needed)
                given[place] = ""
                yield [command, *given]
    yield from (["watch", ""], ["watch", "digits", ""], ["gc", ""], ["gc", "digits", "--delete", ""])


@pytest.mark.parametrize("arguments", [*with_an_empty_name()], ids=" ".join)
def test_a_name_that_is_empty_is_told(project: Path, call: Caller, arguments: list[str]) -> None:
    recorded(project)
    told = refused(call, *arguments)
    assert re.fullmatch(
        rf"error: Invalid value for '\S+': it is empty; see sweep {arguments[0]} --help", told
    )
    assert not (project / ".metta-sweep/server").exists()  # none was started only to hear that


@pytest.mark.parametrize(
    "command", ["attach x", "retry x", "ls", "show x", "replay x", "diff x y", "export x", "dev", "doctor"]
)
def test_an_argument_too_many_is_told(project: Path, call: Caller, command: str) -> None:
    told = refused(call, *command.split(), "more")
    assert told.startswith("error: Got unexpected extra argument(s) (more); see sweep ")


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("run mine.py --budget many", "Invalid value for '--budget': Input should be a valid integer"),
        ("start mine.py --budget 1.5", "Invalid value for '--budget': Input should be a valid integer"),
        ("retry digits --budget many", "Invalid value for '--budget': Input should be a valid integer"),
        ("retry digits --budget 0", "the budget: trials: input should be greater than or equal to 1, got 0"),
        ("retry digits --from-stage one", "the sweep digits: a sweep has no stages, got 'one'"),
        ("trials digits first", "Invalid value for '[NUMBER]': Input should be a valid integer"),
        ("trials digits -n few", "Invalid value for '--limit' / '-n': Input should be a valid integer"),
        (
            "trials digits --status x",
            "--status: unknown state 'x'. Known: completed, failed, paused, running, stopped",
        ),
        ("trials digits -- -1", "digits: there is no trial -1; its trials are 0 to 2"),
        (
            "trials digits 1 --status failed",
            "--status and --best: they choose among trials, and one is given",
        ),
        ("logs digits -- -1", "digits: give the number of a trial, got '-1'"),
        ("budget digits --hours soon", "Invalid value for '--hours': Input should be a valid number"),
        ("budget digits --seconds 0", "the budget: seconds: input should be greater than 0, got 0"),
        ("budget digits --hours -1", "the budget: hours: input should be greater than 0, got -1"),
        ("budget digits --epochs 0", "the budget: epochs: input should be greater than or equal to 1, got 0"),
        ("budget digits --cost nan", "the budget: cost: input should be a finite number, got nan"),
        ("budget digits --target inf", "the budget: target: input should be a finite number, got inf"),
        ("concurrency digits many", "Invalid value for 'trials': Input should be a valid integer"),
        (
            "concurrency digits -- -1",
            "Invalid value for 'trials': Input should be greater than or equal to 0",
        ),
        ("diff digits digits", "the comparison: give two names, got digits twice"),
        ("replay digits --pdb", "--pdb: it debugs a stage: add --stage"),
        (
            "gc --older-than week",
            "--older-than: write a number and m, h, d or w, such as 12h or 7d, got 'week'",
        ),
        ("gc --older-than", "Option '--older-than' requires an argument; see sweep"),
        ("worker --store ftp://a", "the store: there is no kind of store for 'ftp://a'; known are folders, "),
        ("worker a/b", "the worker: modules.0: write a module such as my_lab or my_lab.training, or '*' for"),
        (
            "worker --metrics 9090",
            "the worker: --metrics has to be HOST:PORT, such as 0.0.0.0:9090, got '9090'",
        ),
        ("worker --health a:0", "the worker: --health has to be HOST:PORT, such as 0.0.0.0:9090, got 'a:0'"),
    ],
)
def test_a_value_that_is_none_is_told(project: Path, call: Caller, command: str, problem: str) -> None:
    recorded(project)
    assert refused(call, *command.split()).startswith(f"error: {problem}")
