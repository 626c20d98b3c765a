"""Utilisation: how much of the time of its slots a sweep spends in user code, pauses included."""

from statistics import median
from typing import NamedTuple

from benchmarks.machine import markdown
from benchmarks.marks import Mark, first_begins
from benchmarks.peers import NOT_INSTALLED, Peer
from benchmarks.project import marks_of_sweep, project
from benchmarks.training import EPOCHS, SPACE, train, train_safely
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment
from metta.sweep.optimizers import OptunaOptimizer, RandomOptimizer
from metta.sweep.schedulers import ASHAScheduler

TRIALS = 100
SLOTS = 2

OURS = (
    ("random", RandomOptimizer(), train),
    ("TPE", OptunaOptimizer(sampler="TPE"), train),
    ("random, a checkpoint each epoch", RandomOptimizer(), train_safely),
)
PEERS = (
    Peer("Optuna, journal, 2 processes, stops only", "optuna", ("asha", "journal", f"{TRIALS}")),
    Peer("Ray Tune, 2 actors used again, stops only", "ray", ("asha", f"{TRIALS}")),
)


class Utilisation(NamedTuple):
    """How slots were used while there was work for all of them.

    Args:
        trials: Trials that were begun in that time.
        epoch_s: How long user code ran at a time, between two reports; the median.
        share: Part of the time of the slots that was spent in user code.
        lost_s: The rest of that time, for each trial.
    """

    trials: int
    epoch_s: float
    share: float
    lost_s: float


def table() -> str:
    """Ours with two optimizers and with more checkpoints, and the peers."""
    rows = []
    with project():
        for name, optimizer, objective in OURS:
            experiment = SweepExperiment(
                objective,
                SPACE,
                optimizer=optimizer,
                scheduler=ASHAScheduler(max_epochs=EPOCHS),
                executor=LocalExecutor(max_parallel=SLOTS),
                metric="accuracy",
                seed=7,
            )
            marks = marks_of_sweep(experiment, TRIALS)
            rows.append(row(f"metta.sweep, promotes, {name}", marks))
    rows += [row(peer.title, peer.marks()) for peer in PEERS]
    titles = [f"training, {SLOTS} slots", "trials", "epoch", "slots in use", "lost a trial"]
    return markdown(titles, rows)


def row(title: str, marks: list[Mark]) -> list[str]:
    """A line of the table."""
    if not marks:
        return [title, NOT_INSTALLED]
    used = utilisation(marks, SLOTS)
    times = [f"{used.epoch_s * 1000:.0f} ms", f"{used.share:.1%}", f"{used.lost_s * 1000:.1f} ms"]
    return [title, f"{used.trials}", *times]


def utilisation(marks: list[Mark], slots: int) -> Utilisation:
    """What the marks of a sweep say, from when all slots have work until the last trial has begun.

    Up to then a free slot can always begin a new trial: all of its time that is not user code is lost.
    """
    begins = first_begins(marks)
    begin, end = begins[slots - 1], begins[-1]
    busy = sum(max(0.0, min(mark.ended, end) - max(mark.began, begin)) for mark in marks)
    total, trials = slots * (end - begin), len(begins) - slots
    epoch = median(mark.ended - mark.began for mark in marks)
    return Utilisation(trials, epoch, busy / total, (total - busy) / trials)
