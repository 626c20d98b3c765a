"""Trivial trials a second: what the machinery costs when training costs nothing."""

from benchmarks.machine import markdown
from benchmarks.project import experiment, project

TRIALS = 5000


def table() -> str:
    """Durable trials a second for each number of slots, start-up left out."""
    rows = []
    with project():
        for slots in (1, 2):
            progress = experiment(slots).start(budget=TRIALS).result().progress
            rows.append([f"random, {slots} slots", f"{TRIALS}", f"{TRIALS / progress.elapsed_s:.0f}"])
    return markdown(["durable trivial trials", "trials", "trials/s"], rows)
