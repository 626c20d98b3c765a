"""Start-up: from a cold ``sweep run`` to the first trial, server and worker included."""

from pathlib import Path
from statistics import median
from time import time

from benchmarks.machine import markdown
from benchmarks.project import project, sweep

RUNS = 5

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


def table() -> str:
    """The median over new projects, and over sweeps whose server runs already."""
    cold, warm = [], []
    for _ in range(RUNS):
        with project():
            Path("trivial.py").write_text(OBJECTIVE, "utf-8")
            Path("script.py").write_text(SCRIPT, "utf-8")
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
