"""Search the settings of a neural network that reads handwritten digits.

    sweep run examples/digits.py

Each trial trains scikit-learn's MLPClassifier epoch by epoch, reports after each epoch, and keeps a
checkpoint: kill anything at any moment, and the trial goes on from its last epoch.
"""

from functools import cache
from typing import Any

import joblib
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from metta.sweep import Choice, Integer, LogUniform, Trial, Uniform
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment

EPOCHS = 30

SPACE = {
    "learning_rate": LogUniform(3e-4, 3e-2),
    "hidden": Integer(32, 256, log=True),
    "batch": Choice([32, 64, 128]),
    "alpha": LogUniform(1e-6, 1e-2),
    "solver": Choice(["adam", "sgd"]),
    "sgd.momentum": Uniform(0.5, 0.95),  # only where solver is "sgd"
}


@cache
def digits() -> list[Any]:
    """Images and labels for training and validation; a process loads them once."""
    images, labels = load_digits(return_X_y=True)
    return list(train_test_split(images / 16.0, labels, test_size=0.25, random_state=0, stratify=labels))


def network(params: dict[str, Any], seed: int) -> MLPClassifier:
    """A network that has not learnt anything yet."""
    return MLPClassifier(
        hidden_layer_sizes=(params["hidden"],),
        learning_rate_init=params["learning_rate"],
        batch_size=params["batch"],
        alpha=params["alpha"],
        solver=params["solver"],
        momentum=params.get("sgd.momentum", 0.9),
        random_state=seed,
    )


def train(trial: Trial) -> None:
    """Train epoch by epoch, and report the accuracy on the validation set after each."""
    images, valid_images, labels, valid_labels = digits()
    epoch, model = 0, network(trial.params, trial.seed)
    if trial.resume_from:
        epoch, model = joblib.load(trial.resume_from)
    while epoch < EPOCHS:
        epoch += 1
        model.partial_fit(images, labels, classes=range(10))
        checkpoint = trial.checkpoint_dir / f"epoch-{epoch}.joblib"
        joblib.dump((epoch, model), checkpoint)
        trial.report(step=epoch, accuracy=model.score(valid_images, valid_labels), checkpoint=checkpoint)


sweep = SweepExperiment(
    objective=train,
    search_space=SPACE,
    metric="accuracy",
    seed=7,
    executor=LocalExecutor(max_parallel=2),
)

if __name__ == "__main__":
    results = sweep.run(budget=40)
    print(f"best accuracy {results.best_metric:.4f} with {results.best_params}")
