"""Growth: whether a trial costs more in a large sweep than in a small one."""

from pathlib import Path
from typing import NamedTuple

from benchmarks.machine import markdown
from benchmarks.marks import first_begins
from benchmarks.objectives import LINE, weighed, weight_note
from benchmarks.project import marks_of_sweep, project
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment
from metta.sweep.schedulers import ASHAScheduler, AsynchronousScheduler, Scheduler

SIZES = (1000, 2000, 5000, 10_000, 20_000)
LARGER = (50_000, 100_000)
WINDOW = 1000


class Growth(NamedTuple):
    """What trials cost in one sweep: in milliseconds at each size, and in bytes."""

    times_ms: list[float]
    memory: float
    disk: float


def table(large: bool = False) -> str:
    """Time a trial at the end of sweeps of these sizes, and what a trial needs of memory and disk."""
    sizes = SIZES + LARGER if large else SIZES
    columns = [growth(scheduler, sizes) for scheduler in (AsynchronousScheduler(), ASHAScheduler(27))]
    rows = [
        [f"{size:,} trials", *(f"{column.times_ms[row]:.3f} ms" for column in columns)]
        for row, size in enumerate(sizes)
    ]
    rows.append(["memory of the worker", *(f"{column.memory / 1024:.2f} KiB" for column in columns)])
    rows.append(["ledger", *(f"{column.disk:.0f} bytes" for column in columns)])
    return markdown([f"a trial, of the last {WINDOW}", "random", "ASHA"], rows)


def growth(scheduler: Scheduler, sizes: tuple[int, ...]) -> Growth:
    """Run one sweep to the largest of these sizes."""
    with project() as folder:
        executor = LocalExecutor(max_parallel=2)
        sweep = SweepExperiment(weighed, LINE, scheduler=scheduler, executor=executor, seed=7, name="growth")
        begins = first_begins(marks_of_sweep(sweep, sizes[-1]))
        weights = [int(weight_note(size).read_text("utf-8")) for size in (sizes[0], sizes[-1])]
        ledgers = sum(
            file.stat().st_size for file in Path(folder).glob(".metta-sweep/sweeps/growth/*ledger*")
        )
    memory = (weights[1] - weights[0]) / (sizes[-1] - sizes[0])
    return Growth([time_ms(begins, size) for size in sizes], memory, ledgers / sizes[-1])


def time_ms(begins: list[float], size: int) -> float:
    """Mean time from one trial to the next, over the window that ends with trial number ``size``."""
    return (begins[size - 1] - begins[size - WINDOW]) / (WINDOW - 1) * 1000
