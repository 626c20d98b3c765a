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
    assert unread("show", "nobody") == (1, "error: there is no sweep or experiment 'nobody' here\n")


WRITER = """\
import subprocess, sys
from metta.sweep.experiments.base import Pipeline

pipeline = Pipeline().stage("one", lambda x: x + 1)
with subprocess.Popen(["true"], stdin=subprocess.PIPE) as gone:
    gone.wait()
    try:
        gone.stdin.write(b"x")
        gone.stdin.flush()
    except BrokenPipeError:
        {then}
"""


def sweep_into(file: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command whose output goes to a file."""
    command = [str(Path(sys.executable).with_name("sweep")), *arguments]
    with Path(file).open("w") as output:
        return subprocess.run(command, stdout=output, stderr=subprocess.PIPE, text=True, check=False)


def test_a_script_that_writes_to_somebody_who_is_gone_has_failed(project: Path) -> None:
    (project / "mine.py").write_text(WRITER.format(then="raise"), "utf-8")
    done = sweep_into("/dev/null", "run", "mine.py")
    assert done.returncode == 1
    assert "BrokenPipeError" in done.stderr
    (project / "mine.py").write_text(WRITER.format(then="gone.stdin = None; sys.exit(3)"), "utf-8")
    assert sweep_into("/dev/null", "run", "mine.py").returncode == 3


@pytest.mark.parametrize("command", ["export digits", "show digits"])
def test_output_that_cannot_be_written_is_told(project: Path, command: str) -> None:
    recorded(project)
    done = sweep_into("/dev/full", *command.split())
    assert (done.returncode, done.stderr) == (
        1,
        "error: what is printed cannot be written: No space left on device\n",
    )
