"""Whoever reads what is printed may have seen enough, as in ``sweep ls | head -1``."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.records import begun, recorded

SCRIPT = """\
from metta.sweep.experiments.base import Pipeline

print("defining")
pipeline = Pipeline().stage("one", lambda x: x + 1)
"""


def unread(*arguments: str) -> tuple[int, str]:
    """How a command ends of whose output nobody reads anything, and what it says beside that."""
    command = [str(Path(sys.executable).with_name("sweep")), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout
        assert running.stderr
        running.stdout.close()
        said = running.stderr.read()
    return running.returncode, said


@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "show --help",
        "ls",
        "show digits --json",
        "show talk --tree",
        "watch digits",
        "trials digits",
        "diff digits other",
        "export digits",
        "export digits --format parquet",
        "gc",
        "doctor",
        "run mine.py --debug --input 1",
        "run mine.py --debug --input 1 --json",
    ],
)
def test_a_reader_who_has_seen_enough_is_no_error(project: Path, command: str) -> None:
    recorded(project)
    recorded(project, "other")
    begun(project)
    (project / "mine.py").write_text(SCRIPT, "utf-8")
    code, said = unread(*command.split())
    assert (code, said.removeprefix("defining\n")) == (141, "")


def test_an_error_is_told_to_whoever_reads_errors(project: Path) -> None:
    assert unread("show", "nobody") == (1, "error: there is no sweep 'nobody' here\n")
