"""Objectives that cost next to nothing, for what the machinery costs."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.marks import marked
from metta.sweep import Trial, Uniform

LINE = {"x": Uniform(0, 1)}
CUBE = {f"x{axis}": Uniform(0, 1) for axis in range(10)}
WEIGHED = 1000


def identity(params: Mapping[str, float]) -> dict[str, float]:
    """The parameter itself."""
    with marked():
        return {"accuracy": params["x"]}


def sphere(params: Mapping[str, float]) -> dict[str, float]:
    """How far the parameters are from the middle of the cube."""
    with marked():
        return {"loss": distance(params.values())}


def distance(point: Iterable[float]) -> float:
    """Square of the distance from the middle of the cube."""
    return sum((x - 0.5) ** 2 for x in point)


def weighed(trial: Trial) -> dict[str, float] | None:
    """The parameter itself, reported where there is a rung; each thousandth trial weighs its worker."""
    with marked(trial.number):
        if (trial.number + 1) % WEIGHED == 0 and not (note := weight_note(trial.number + 1)).exists():
            note.write_text(str(memory_of(os.getppid())), "utf-8")
        accuracy = trial.params["x"]
    if trial.until_step is None:
        return {"accuracy": accuracy}
    trial.report(step=trial.until_step, accuracy=accuracy)
    return None


def weight_note(trials: int) -> Path:
    """Where the memory of the worker is noted, when so many trials were begun."""
    return Path(f"memory-{trials}.txt")


def memory_of(pid: int) -> int:
    """Bytes that a process holds in memory."""
    pages = Path(f"/proc/{pid}/statm").read_text("utf-8").split()[1]
    return int(pages) * os.sysconf("SC_PAGESIZE")
