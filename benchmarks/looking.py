"""Looking: how long commands take to show large sweeps and many, and what a live table takes of a core."""

import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from shutil import copytree
from statistics import median
from time import monotonic, sleep

import psutil

from benchmarks.machine import markdown
from benchmarks.objectives import LINE
from benchmarks.project import project, sweep
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment

LARGE = 100_000
MANY = 1_000
RUNS = 5
WATCHED_S = 20.0


def table() -> str:
    """The median of several calls, the start of the command included, and the share over some seconds."""
    with project() as folder:
        ran("large", LARGE)
        rows = [[f"`sweep show` of {LARGE:,} trials", f"{taken_s('show', 'large'):.2f} s"]]
        Path(folder, ".metta-sweep/sweeps/large/snapshot.jsonl").unlink()
        rows.append(["the same without a snapshot", f"{taken_s('show', 'large'):.2f} s"])
    with project() as folder:
        ran("s0", 20)
        sweeps = Path(folder, ".metta-sweep/sweeps")
        for n in range(1, MANY):
            copytree(sweeps / "s0", sweeps / f"s{n}")
        rows.append([f"`sweep ls` of {MANY:,} sweeps", f"{taken_s('ls'):.2f} s"])
        rows.append([f"`sweep watch` of {MANY:,} sweeps", f"{share_of_core('watch'):.1%} of a core"])
        running = SweepExperiment(slow, LINE, name="running", seed=1, executor=LocalExecutor(1)).start()
        rows.append(["`sweep watch` of one that runs", f"{share_of_core('watch', 'running'):.1%} of a core"])
        running.stop()
    return markdown(["", "here"], rows)


def trivial(params: Mapping[str, float]) -> dict[str, float]:
    """The parameter itself."""
    return {"loss": params["x"]}


def slow(params: Mapping[str, float]) -> dict[str, float]:
    """The same, after a while."""
    sleep(0.5)
    return {"loss": params["x"]}


def ran(name: str, trials: int) -> int:
    """Run a sweep of trivial trials; how many there were."""
    executor = LocalExecutor(max_parallel=2)
    running = SweepExperiment(trivial, LINE, name=name, seed=1, executor=executor).start(budget=trials)
    return len(running.result().trials)


def taken_s(*arguments: str) -> float:
    """Seconds that a command takes."""
    times = []
    for _ in range(RUNS):
        began = monotonic()
        sweep(*arguments)
        times.append(monotonic() - began)
    return median(times)


def share_of_core(*arguments: str) -> float:
    """How much of a core a command takes that goes on, its start left out."""
    command = [str(Path(sys.executable).with_name("sweep")), *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as watching:
        process = psutil.Process(watching.pid)
        sleep(5)
        before = process.cpu_times()
        sleep(WATCHED_S)
        after = process.cpu_times()
        watching.send_signal(signal.SIGINT)
    return (after.user + after.system - before.user - before.system) / WATCHED_S
