"""TPE: trials a second when each one is suggested from all before it."""

from statistics import median

from benchmarks.machine import figure, markdown
from benchmarks.marks import rate
from benchmarks.objectives import CUBE, sphere
from benchmarks.peers import Peer
from benchmarks.project import marks_of_sweep, project
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment
from metta.sweep.optimizers import OptunaOptimizer

TRIALS = 1000
ROUNDS = 3

BARE = Peer("Optuna, in memory, 1 thread", "optuna", ("tpe", "memory", f"{TRIALS}"), "no")
PEERS = (
    Peer("Optuna, journal, 2 processes", "optuna", ("tpe", "journal", f"{TRIALS}"), "yes"),
    Peer("Optuna, SQLite, 2 processes", "optuna", ("tpe", "sqlite", "300"), "yes"),
)


def table() -> str:
    """Ours and bare Optuna in turns, medians of several rounds; the other peers once."""
    ours, bare = [], []
    with project():
        for _ in range(ROUNDS):
            ours.append(rate(marks_of_sweep(experiment(), TRIALS)))
            bare.append(rate(BARE.marks()))
    share = median(own / other for own, other in zip(ours, bare, strict=True))
    rows = [
        ["metta.sweep, 1 slot", "yes", f"{TRIALS}", figure(median(ours)), f"{share:.0%}"],
        [BARE.title, BARE.durable, f"{TRIALS}", figure(median(bare)), "100%"],
    ]
    for peer in PEERS:
        marks = peer.marks()
        speed = rate(marks)
        rows.append([peer.title, peer.durable, f"{len(marks)}", figure(speed), f"{speed / median(bare):.0%}"])
    return markdown(["TPE, 10 numbers", "durable", "trials", "trials/s", "of Optuna in memory"], rows)


def experiment() -> SweepExperiment:
    """TPE over ten numbers, one trial after the other."""
    executor = LocalExecutor(max_parallel=1)
    return SweepExperiment(sphere, CUBE, optimizer=OptunaOptimizer(sampler="TPE"), executor=executor, seed=7)
