"""The commands that the docstrings of examples say to type.

They take a minute and a half, and most of it is training. So those that train longest, whose parts
``tests/examples`` runs, are typed by ``make soak`` alone: ``METTA_SWEEP_TEST_EXAMPLES=all``.
"""

import os
import re
from pathlib import Path

import pytest

from tests.docs.consoles import ROOT, problem_with, typed

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
LONG = ("curriculum.py", "digits.py", "digits_asha.py", "hybrid_search.py", "pipeline_sweeps.py")
TYPED = [
    example
    for example in EXAMPLES
    if example.name not in LONG or os.environ.get("METTA_SWEEP_TEST_EXAMPLES") == "all"
]


def command_in(example: Path) -> str:
    """What its docstring says to type."""
    docstring = example.read_text("utf-8").split('"""')[1]
    [command] = re.findall(r"^    ((?:python|sweep) .*)$", docstring, re.MULTILINE)
    return str(command)


@pytest.mark.timeout(300)
def test_the_commands_of_examples_run(project: Path) -> None:
    (project / "examples").symlink_to(ROOT / "examples")
    for command in map(command_in, TYPED):
        done = typed(command)
        assert done.returncode == 0, f"$ {command}\n{done.stdout}"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_is_run_by_a_command_that_is_there(example: Path) -> None:
    command = command_in(example)
    assert command in (f"python examples/{example.name}", f"sweep run examples/{example.name}")
    assert command.startswith("python ") or not problem_with(command)


def test_those_that_take_long_are_there() -> None:
    assert {*LONG} < {example.name for example in EXAMPLES}
