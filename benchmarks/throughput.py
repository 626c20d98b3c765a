"""Trivial trials a second: what the machinery costs when training costs nothing."""

from benchmarks.machine import figure, markdown
from benchmarks.marks import rate
from benchmarks.objectives import LINE, identity
from benchmarks.peers import NOT_INSTALLED, Peer
from benchmarks.project import marks_of_sweep, project
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment

TRIALS = 5000

PEERS = (
    Peer("Optuna, in memory, 1 thread", "optuna", ("random", "memory", "5000"), "no"),
    Peer("Optuna, journal, 2 processes", "optuna", ("random", "journal", "1000"), "yes"),
    Peer("Optuna, SQLite, 2 processes", "optuna", ("random", "sqlite", "400"), "yes"),
    Peer("Ray Tune, 2 actors used again", "ray", ("random", "300"), "now and then"),
    Peer("Syne Tune, local backend, 2 workers", "syne_tune", ("30",), "now and then"),
)


def table() -> str:
    """Trials a second for each number of slots and each peer, start-up left out."""
    rows = []
    with project():
        for slots, title in ((1, "metta.sweep, 1 slot"), (2, "metta.sweep, 2 slots")):
            marks = marks_of_sweep(experiment(slots), TRIALS)
            rows.append([title, "yes, in batches", f"{len(marks)}", figure(rate(marks))])
    for peer in PEERS:
        marks = peer.marks()
        figures = [peer.durable, f"{len(marks)}", figure(rate(marks))] if marks else [NOT_INSTALLED]
        rows.append([peer.title, *figures])
    return markdown(["trivial trials, random search", "durable", "trials", "trials/s"], rows)


def experiment(slots: int) -> SweepExperiment:
    """Random search over one number."""
    return SweepExperiment(identity, LINE, executor=LocalExecutor(max_parallel=slots), seed=7)
