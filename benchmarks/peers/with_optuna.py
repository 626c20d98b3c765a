"""Optuna: ``python -m benchmarks.peers.with_optuna random|tpe|asha memory|journal|sqlite TRIALS``."""

import sys
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier, Semaphore
from typing import Any, NamedTuple

import optuna
from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from benchmarks.marks import marked
from benchmarks.objectives import CUBE, distance

PROCESSES = 2


class Work(NamedTuple):
    """What is to be done, and how."""

    objective: Callable[[optuna.Trial], float]
    sampler: Callable[[int], BaseSampler]
    pruner: BasePruner


def identity(trial: optuna.Trial) -> float:
    """The parameter itself."""
    x = trial.suggest_float("x", 0, 1)
    with marked():
        return x


def sphere(trial: optuna.Trial) -> float:
    """How far the parameters are from the middle of the cube."""
    point = [trial.suggest_float(name, 0, 1) for name in CUBE]
    with marked():
        return distance(point)


def train(trial: optuna.Trial) -> float:
    """Train epoch by epoch until it is done or pruned."""
    from benchmarks.training import EPOCHS, Training

    learning_rate = trial.suggest_float("learning_rate", 3e-4, 3e-2, log=True)
    alpha = trial.suggest_float("alpha", 1e-6, 1e-2, log=True)
    training = Training(learning_rate, alpha, seed=trial.number)
    while True:
        with marked(trial.number):
            accuracy = training.train()
        trial.report(accuracy, training.epoch)
        if training.epoch == EPOCHS:
            return accuracy
        if trial.should_prune():
            raise optuna.TrialPruned


WORK = {
    "random": Work(identity, lambda seed: RandomSampler(seed=seed), NopPruner()),
    "tpe": Work(sphere, lambda seed: TPESampler(seed=seed), NopPruner()),
    "asha": Work(
        train, lambda seed: RandomSampler(seed=seed), SuccessiveHalvingPruner(1, reduction_factor=3)
    ),
}
STORAGES: dict[str, Callable[[], BaseStorage]] = {
    "journal": lambda: JournalStorage(JournalFileBackend("journal.log")),
    "sqlite": lambda: RDBStorage("sqlite:///optuna.db"),
}


def study(name: str, seed: int, storage: BaseStorage | None) -> optuna.Study:
    """The one study of this work, as one process sees it."""
    work = WORK[name]
    direction = "minimize" if name == "tpe" else "maximize"
    options: dict[str, Any] = {"direction": direction, "study_name": name, "load_if_exists": True}
    return optuna.create_study(storage=storage, sampler=work.sampler(seed), pruner=work.pruner, **options)


def share(name: str, storage: str, seed: int, begin: Barrier, left: Semaphore) -> None:
    """Run trials as long as some are left to begin; a process of several."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    own = study(name, seed, STORAGES[storage]())
    begin.wait()
    while left.acquire(block=False):
        own.optimize(WORK[name].objective, n_trials=1)


def main(name: str, storage: str, trials: int) -> None:
    """Run so many trials: in this thread when they stay in memory, else in two processes."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if storage == "memory":
        study(name, 7, None).optimize(WORK[name].objective, n_trials=trials)
        return
    study(name, 7, STORAGES[storage]())
    context = get_context("spawn")
    shared = (context.Barrier(PROCESSES), context.Semaphore(trials))
    processes = [
        context.Process(target=share, args=(name, storage, 7 + n, *shared)) for n in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    sys.exit(any(process.exitcode for process in processes))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
