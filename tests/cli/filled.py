"""A scene on a small disk: server and worker of a sweep are killed, the disk is full, commands are given."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import sleep
from typing import NamedTuple

from tests.cli.commands import PATIENCE_S, wait_until_recorded
from tests.rig import pid_in

PROGRAM = """\
from time import sleep
from metta.sweep import Uniform
from metta.sweep.experiments import SweepExperiment

def train(trial):
    sleep(0.2)
    return trial.params["x"]

SweepExperiment(train, {{"x": Uniform(0, 1)}}, name="{name}", goal="maximize", seed=1).run(budget={budget})
"""

HOME = Path(".metta-sweep")
LEDGER = HOME / "sweeps/digits/ledger.jsonl"


class Told(NamedTuple):
    """What came of a command.

    Args:
        code: Its exit code; None when it did not end in time.
        out: What it printed.
        err: What it said besides.
    """

    code: int | None
    out: str
    err: str


def sweep(*arguments: str, patience_s: float = PATIENCE_S) -> Told:
    """Give a command, and leave it alone after a while."""
    command = [str(Path(sys.executable).with_name("sweep")), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=patience_s, check=False)
    except subprocess.TimeoutExpired as late:
        return Told(None, (late.stdout or b"").decode(), (late.stderr or b"").decode())
    return Told(done.returncode, done.stdout, done.stderr)


def play(disk: str, commands: Sequence[str]) -> None:
    """Give commands on a disk that is full; print what came of each as JSON."""
    os.chdir(disk)
    Path("pyproject.toml").touch()
    for name, budget in (("digits", 1000), ("other", 2)):
        Path(f"{name}.py").write_text(PROGRAM.format(name=name, budget=budget), "utf-8")
    try:
        assert sweep("start", "digits.py").code == 0
        wait_until_recorded(LEDGER, '"completed"')
        for lock in ("launches/digits.lock", "server/alive.lock"):
            os.kill(pid_in(HOME / lock), signal.SIGKILL)
        sleep(1.0)  # until the minder is gone, too
        _fill(Path("ballast"))
        told = {command: sweep(*command.split()) for command in commands}
        told["run other.py --debug"] = sweep("run", "other.py", "--debug", patience_s=5.0)
        before = LEDGER.read_text("utf-8")
        Path("ballast").unlink()
        told["room again"] = sweep("watch", "digits", patience_s=10.0)
        assert LEDGER.read_text("utf-8").startswith(before)
        assert len(LEDGER.read_text("utf-8")) > len(before)
    finally:
        assert sweep("dev", "--stop").code == 0
    print(json.dumps(told))


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1024))
        except OSError:
            pass
