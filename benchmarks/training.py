"""Real training for the benchmarks: a network that reads digits; an epoch takes about 100 ms on one core."""

from functools import cache
from typing import Any

import joblib
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from benchmarks.marks import marked
from metta.sweep import LogUniform, Trial

EPOCHS = 27
SHAPE: dict[str, Any] = {"hidden_layer_sizes": (256, 256), "batch_size": 32}
SPACE = {"learning_rate": LogUniform(3e-4, 3e-2), "alpha": LogUniform(1e-6, 1e-2)}


@cache
def digits() -> list[Any]:
    """Images and labels for training and validation; a process loads them once."""
    images, labels = load_digits(return_X_y=True)
    return list(train_test_split(images / 16.0, labels, test_size=0.25, random_state=0, stratify=labels))


class Training:
    """A network in training; neither parameter changes how long an epoch takes."""

    def __init__(self, learning_rate: float, alpha: float, seed: int) -> None:
        self.epoch = 0
        self._network = MLPClassifier(
            **SHAPE,
            learning_rate_init=learning_rate,
            alpha=alpha,
            random_state=seed,
        )

    def train(self) -> float:
        """Train for one epoch; the accuracy on the validation set."""
        images, valid_images, labels, valid_labels = digits()
        self._network.partial_fit(images, labels, classes=range(10))
        self.epoch += 1
        return float(self._network.score(valid_images, valid_labels))


def train(trial: Trial) -> None:
    """Train epoch by epoch, and write a checkpoint where the trial pauses."""
    _train(trial, keeps_all=False)


def train_safely(trial: Trial) -> None:
    """The same, with a checkpoint after each epoch, so that no crash costs more than one."""
    _train(trial, keeps_all=True)


def _train(trial: Trial, keeps_all: bool) -> None:
    """Go on from the last checkpoint. All is marked but what waits for a report."""
    training = None
    while training is None or training.epoch < EPOCHS:
        with marked(trial.number):
            training = training or _begun(trial)
            accuracy = training.train()
            checkpoint = None
            if keeps_all or training.epoch == trial.until_step:
                checkpoint = trial.checkpoint_dir / f"epoch-{training.epoch}.joblib"
                joblib.dump(training, checkpoint)
        trial.report(step=training.epoch, accuracy=accuracy, checkpoint=checkpoint)


def _begun(trial: Trial) -> Training:
    if trial.resume_from:
        resumed: Training = joblib.load(trial.resume_from)
        return resumed
    return Training(**trial.params, seed=trial.seed % 2**32)
