"""A project in a temporary folder, with one trivial objective."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from metta.sweep import Uniform
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment

OBJECTIVE = """
import time
from pathlib import Path

began = Path("began.txt")


def trivial(params):
    if not began.exists():
        began.write_text(repr(time.time()))
    return {"accuracy": params["x"]}
"""

SCRIPT = """
from metta.sweep import Uniform
from metta.sweep.experiments import SweepExperiment

SweepExperiment("trivial.py:trivial", {"x": Uniform(0, 1)}).run(budget=2)
"""


@contextmanager
def project() -> Iterator[Path]:
    """Within it, the current folder is a new project; its server and workers end with it."""
    before = Path.cwd()
    with TemporaryDirectory(prefix="metta-sweep-bench-") as folder:
        os.chdir(folder)
        Path("pyproject.toml").touch()
        Path("trivial.py").write_text(OBJECTIVE, "utf-8")
        Path("script.py").write_text(SCRIPT, "utf-8")
        try:
            yield Path(folder)
        finally:
            sweep("dev", "--stop")
            os.chdir(before)


def experiment(slots: int, seed: int = 7) -> SweepExperiment:
    """Random search over one number, with the trivial objective."""
    executor = LocalExecutor(max_parallel=slots)
    return SweepExperiment("trivial.py:trivial", {"x": Uniform(0, 1)}, executor=executor, seed=seed)


def sweep(*arguments: str) -> None:
    """Run the command `sweep`, and keep its output to itself."""
    command = [str(Path(sys.executable).with_name("sweep")), *arguments]
    subprocess.run(command, check=True, capture_output=True)
