"""Growth: whether a trial costs more in a large sweep than in a small one."""

import tracemalloc
from collections.abc import Iterator

from benchmarks.machine import markdown
from benchmarks.project import experiment, project
from metta.sweep.client.results import table_of
from metta.sweep.contracts.decisions import Start
from metta.sweep.stores.base import Ledger
from metta.sweep.stores.files import LEDGER, FileStore

SIZES = (1000, 20_000)
WINDOW = 1000


def table() -> str:
    """Time a trial and memory a trial, at the end of sweeps of these sizes."""
    with project() as folder:
        name = "growth"
        results = experiment(2).start(budget=max(SIZES), name=name).result()
        assert len(results.trials) == max(SIZES)
        ledger = FileStore(folder / ".metta-sweep").ledger(name)
        starts = list(start_times(ledger))
        rows = [[f"{size:,}", f"{cost_ms(starts, size):.3f} ms"] for size in SIZES]
        disk = (folder / ".metta-sweep/sweeps" / name / LEDGER).stat().st_size / max(SIZES)
        memory = f"{memory_kib(ledger):.2f} KiB a trial in memory, {disk:.0f} bytes in the ledger"
    return markdown(["trials so far", f"time of each of the last {WINDOW}"], rows) + f"\n\n{memory}"


def start_times(ledger: Ledger) -> Iterator[float]:
    """When each trial was started: the time of the last event before."""
    at = 0.0
    for chunk in ledger.read():
        at = chunk.events[-1].at if chunk.events else at
        for decision in chunk.decisions:
            if isinstance(decision, Start):
                yield at


def cost_ms(starts: list[float], size: int) -> float:
    """Mean time from one start to the next over the window that ends with trial number ``size``."""
    return (starts[size - 1] - starts[size - WINDOW]) / (WINDOW - 1) * 1000


def memory_kib(ledger: Ledger) -> float:
    """What the trial table of a ledger needs for each of its trials."""
    tracemalloc.start()
    try:
        table = table_of(ledger)
        return tracemalloc.get_traced_memory()[0] / 1024 / len(table.records)
    finally:
        tracemalloc.stop()
