"""The command as users give it, and scripts to give it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

PATIENCE_S = 40.0

SCRIPT = """\
import time
from metta.sweep import Choice, Uniform
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment

SPACE = {"x": Uniform(0, 1), "model": Choice(["cnn", "mlp"]), "cnn.depth": Choice([2, 3])}

def train(trial):
    trial.report(step=1, accuracy=trial.params["x"])

def slow(trial):
    for step in range(1, 13):
        time.sleep(0.1)
        trial.report(step=step, accuracy=trial.params["x"])

def broken(params):
    raise ValueError("no luck today")

"""


def script(folder: Path, objective: str = "train", **options: object) -> None:
    """Write ``mine.py``, which runs an objective three times.

    Args:
        folder: Where to write it.
        objective: Which of its objectives.
        options: More arguments of the experiment.
    """
    given = "".join(f", {name}={value!r}" for name, value in options.items())
    call = f"SweepExperiment({objective}, SPACE, seed=1, executor=LocalExecutor(max_parallel=1){given})"
    (folder / "mine.py").write_text(
        f"{SCRIPT}print('defining')\nsweep = {call}\nsweep.run(budget=3)\n", "utf-8"
    )


@contextmanager
def running(*arguments: str, program: str = "sweep") -> Iterator[subprocess.Popen[str]]:
    """A command that runs in the current folder, in a group of its own, for which Ctrl-C can be typed."""
    command = subprocess.Popen(
        [str(Path(sys.executable).with_name(program)), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if name not in ("COLUMNS", "FORCE_COLOR")},
        start_new_session=True,
    )
    with command:
        try:
            yield command
        finally:
            command.kill()  # when a test has failed before its end


def ended(command: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """Wait for the end of a command."""
    out, err = command.communicate(timeout=PATIENCE_S)
    return subprocess.CompletedProcess(command.args, command.returncode, out, err)


def sweep(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``sweep`` in the current folder."""
    with running(*arguments) as command:
        return ended(command)


def interrupt(command: subprocess.Popen[str]) -> None:
    """What a terminal does when Ctrl-C is typed."""
    os.killpg(command.pid, signal.SIGINT)


def wait_until_recorded(ledger: Path, text: str) -> None:
    """Wait until something stands in a ledger."""
    deadline = monotonic() + PATIENCE_S
    while not (ledger.exists() and text in ledger.read_text("utf-8")):
        assert monotonic() < deadline, f"{text} does not come into {ledger}"
        sleep(0.05)
