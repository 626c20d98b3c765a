"""Disks on which nobody may begin a store, or on which there is no room for one."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.commands import PATIENCE_S
from tests.rights import without_rights
from tests.stores.disks import run_on_disk

SWEEP = str(Path(sys.executable).with_name("sweep"))

SERVER = "this project's Temporal server cannot be started:"

SCRIPT = """\
from metta.sweep import Uniform
from metta.sweep.experiments import SweepExperiment

def train(params):
    return {"accuracy": params["x"]}

SweepExperiment(train, {"x": Uniform(0, 1)}, name="digits").run(budget=1)
"""

FULL = """
import json, os, subprocess, sys
from pathlib import Path

place = Path(sys.argv[1])
(place / "pyproject.toml").touch()
(place / "theirs").write_bytes(bytes(4096))
os.chdir(place)
command = {command}
done = subprocess.run([*command, *{more}], capture_output=True, text=True)
print(json.dumps([done.returncode, done.stdout, done.stderr]))
"""


@pytest.fixture
def closed(project: Path) -> Iterator[Path]:
    """A project in whose folder nobody may make anything."""
    (project / "mine.py").write_text(SCRIPT, "utf-8")
    project.chmod(0o555)
    yield project
    project.chmod(0o755)


def sweep_without_rights(command: str) -> "subprocess.CompletedProcess[str]":
    given = without_rights([SWEEP, *command.split()])
    return subprocess.run(given, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        *(
            (command, "{store} cannot be made")
            for command in ("run mine.py", "start mine.py", "run mine.py --debug")
        ),
        *((command, f"{SERVER} {{store}}/server cannot be written") for command in ("dev", "replay digits")),
        ("worker", "{store}/launches cannot be written"),
    ],
)
def test_a_folder_in_which_nobody_may_begin_is_told(closed: Path, command: str, problem: str) -> None:
    done = sweep_without_rights(command)
    assert (done.returncode, done.stdout) == (1, "")
    told = problem.format(store=closed / ".metta-sweep")
    way = "Permission denied; allow it, or put the store elsewhere"
    assert done.stderr.splitlines()[-1] == f"error: {told}: {way}"


@pytest.mark.parametrize(
    ("command", "code"), [("ls", 0), ("show digits", 1), ("watch digits", 1), ("gc", 0), ("dev --stop", 0)]
)
@pytest.mark.usefixtures("closed")
def test_who_only_looks_there_is_not_kept_from_it(command: str, code: int) -> None:
    done = sweep_without_rights(command)
    assert done.returncode == code
    assert "Permission denied" not in done.stderr


@pytest.mark.parametrize("command", ["run mine.py", "start mine.py", "dev", "worker"])
@pytest.mark.parametrize("more", [[], ["--json"]], ids=["text", "json"])
def test_a_disk_that_is_full_is_told(tmp_path: Path, command: str, more: list[str]) -> None:
    script = tmp_path / "mine.py"
    script.write_text(SCRIPT, "utf-8")
    given = [SWEEP, *command.replace("mine.py", str(script)).split()]
    told = run_on_disk(tmp_path / "disk", "size=4k", FULL.format(command=given, more=more))
    code, printed, said = json.loads(told)
    assert (code, printed) == (1, "")
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert "no room is left for" in said
    assert "`sweep gc` shows what nobody needs any more" in said
