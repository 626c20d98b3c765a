"""Type checkers reject wrong pipelines, and accept right ones."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RIGHT, WRONG = (sorted((HERE / folder).glob("*.py")) for folder in ("right", "wrong"))


def told_by(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert not done.stderr.strip()
    return done.stdout


def errors_of_mypy(folder: Path) -> list[dict[str, Any]]:
    told = told_by("mypy", "--output=json", f"--cache-dir={folder}", *map(str, RIGHT + WRONG))
    return [json.loads(line) for line in told.splitlines()]


def errors_of_pyright(folder: Path) -> list[dict[str, Any]]:
    # a project of its own, for the one of this repository leaves wrong programs out
    told = told_by("pyright", "--outputjson", f"--project={HERE}", f"--pythonpath={sys.executable}")
    return list(json.loads(told)["generalDiagnostics"])


@pytest.mark.timeout(240)
@pytest.mark.parametrize("checker", [errors_of_mypy, errors_of_pyright])
def test_wrong_programs_are_rejected_and_right_ones_accepted(
    checker: Callable[[Path], list[dict[str, Any]]], tmp_path: Path
) -> None:
    errors = [error for error in checker(tmp_path) if error["severity"] == "error"]
    assert {Path(error["file"]).name for error in errors} == {program.name for program in WRONG}
