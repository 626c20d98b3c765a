"""A network learns to read digits: upright ones first, and then more and more tilted ones.

    python examples/curriculum.py

Each task is a sweep of its own, which ends when a network reads well enough. The next one begins with what
the sweeps before have found out about learning rates, and with the weights of the best network.
"""

from functools import cache
from typing import Any, NamedTuple

import joblib
import numpy as np
from scipy.ndimage import rotate  # type: ignore[import-untyped]  # it has no types
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from metta.sweep import Choice, LogUniform, Trial
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import CurriculumExperiment, Task

EPOCHS = 12
ANGLES = 7

SPACE = {
    "learning_rate": LogUniform(3e-4, 1e-2),
    "alpha": LogUniform(1e-6, 1e-2),
    "batch": Choice([32, 64, 128]),
}


class Digits(NamedTuple):
    images: Any
    labels: Any


@cache
def digits(degrees: float) -> tuple[Digits, Digits]:
    """Digits to learn from, and others to test with, tilted by up to so many degrees to either side."""
    images, labels = load_digits(return_X_y=True)
    seen, unseen, known, unknown = train_test_split(
        images / 16.0, labels, test_size=0.25, random_state=0, stratify=labels
    )
    return Digits(tilted(seen, degrees), known), Digits(tilted(unseen, degrees), unknown)


def tilted(images: Any, degrees: float) -> Any:
    """Images that are tilted by one of some angles each."""
    made = images.reshape(-1, 8, 8).copy()
    for n, angle in enumerate(np.linspace(-degrees, degrees, ANGLES)):
        made[n::ANGLES] = rotate(made[n::ANGLES], angle, axes=(1, 2), reshape=False, order=1)
    return made.reshape(-1, 64)


def begun(trial: Trial, seen: Digits) -> MLPClassifier:
    """A network with the weights of an earlier one, if there are any, and a learning rate of its own."""
    params = trial.params
    model = MLPClassifier(
        hidden_layer_sizes=(96,),
        learning_rate_init=params["learning_rate"],
        alpha=params["alpha"],
        batch_size=params["batch"],
        random_state=trial.seed,
    )
    model.partial_fit(seen.images[: params["batch"]], seen.labels[: params["batch"]], classes=range(10))
    if params["init_from"]:
        _, before = joblib.load(params["init_from"])
        for mine, theirs in zip(
            model.coefs_ + model.intercepts_, before.coefs_ + before.intercepts_, strict=True
        ):
            mine[:] = theirs
    return model


def train(trial: Trial) -> None:
    """Train epoch by epoch, and report the accuracy on digits that were not seen."""
    seen, unseen = digits(trial.params["task.degrees"])
    epoch, model = joblib.load(trial.resume_from) if trial.resume_from else (0, begun(trial, seen))
    while epoch < EPOCHS:
        epoch += 1
        model.partial_fit(*seen)
        checkpoint = trial.checkpoint_dir / f"epoch-{epoch}.joblib"
        joblib.dump((epoch, model), checkpoint)
        trial.report(step=epoch, accuracy=model.score(*unseen), checkpoint=checkpoint)


class Reading(CurriculumExperiment):
    """Tilted digits are harder, so less is asked of those who read them."""

    objective = train
    search_space = SPACE
    metric = "accuracy"
    tasks = (
        Task(name="upright", params={"degrees": 0}),
        Task(name="tilted-15", params={"degrees": 15}, mastery=0.93),
        Task(name="tilted-30", params={"degrees": 30}, mastery=0.90),
        Task(name="tilted-45", params={"degrees": 45}, mastery=0.88),
    )
    mastery = 0.95
    trials_per_task = 6
    hand_on_weights = True
    executor = LocalExecutor(max_parallel=2)
    seed = 1


if __name__ == "__main__":
    results = Reading().run(name="reading")
    print(results)
