"""A project in a temporary folder."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.marks import Mark, marks_of
from metta.sweep.experiments import SweepExperiment


@contextmanager
def project() -> Iterator[Path]:
    """Within it, the current folder is a new project; its server and workers end with it."""
    before = Path.cwd()
    with TemporaryDirectory(prefix="metta-sweep-bench-") as folder:
        os.chdir(folder)
        Path("pyproject.toml").touch()
        try:
            yield Path(folder)
        finally:
            sweep("dev", "--stop")
            os.chdir(before)


def marks_of_sweep(experiment: SweepExperiment, trials: int) -> list[Mark]:
    """Run a sweep to its end, and see what its trials noted."""
    return marks_of(lambda: experiment.start(budget=trials).result().progress)


def sweep(*arguments: str) -> None:
    """Run the command `sweep`, and keep its output to itself."""
    command = [str(Path(sys.executable).with_name("sweep")), *arguments]
    subprocess.run(command, check=True, capture_output=True)
