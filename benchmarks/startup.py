"""Start-up: from a cold ``sweep run`` to the first trial, server and worker included."""

from pathlib import Path
from statistics import median
from time import time

from benchmarks.machine import markdown
from benchmarks.project import project, sweep

RUNS = 5


def table() -> str:
    """The median over new projects, and over sweeps whose server runs already."""
    cold, warm = [], []
    for _ in range(RUNS):
        with project():
            cold.append(first_trial_s())
            warm.append(first_trial_s())
    rows = [["no server yet", f"{median(cold):.2f} s"], ["server runs", f"{median(warm):.2f} s"]]
    return markdown(["from `sweep run` to the first trial", f"median of {RUNS}"], rows)


def first_trial_s() -> float:
    """Seconds from the start of the command to the first line of the objective."""
    began = Path("began.txt")
    began.unlink(missing_ok=True)
    at = time()
    sweep("run", "script.py")
    return float(began.read_text("utf-8")) - at
