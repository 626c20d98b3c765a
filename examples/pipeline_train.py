"""Train a classifier and evaluate it: two stages, and a contract behind each.

    python examples/pipeline_train.py

Each stage is recorded when it has ended. Kill anything in between, then `sweep attach digits-train`: what is
recorded is not computed again.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import train_test_split

from metta.sweep.experiments.base import Pipeline


@dataclass
class Trained:
    """A model, and what it has not seen yet."""

    model: RandomForestClassifier
    images: NDArray[np.float64]
    labels: NDArray[np.int64]


class Score(NamedTuple):
    accuracy: float
    mistakes: dict[str, int]  # by what was taken for what


def digits() -> list[Any]:
    images, labels = load_digits(return_X_y=True)
    return list(train_test_split(images / 16.0, labels, test_size=0.25, random_state=0, stratify=labels))


def train(trees: int = 50) -> Trained:
    images, unseen_images, labels, unseen_labels = digits()
    model = RandomForestClassifier(n_estimators=trees, random_state=0).fit(images, labels)
    return Trained(model, unseen_images, unseen_labels)


def evaluate(trained: Trained) -> Score:
    counts = confusion_matrix(trained.labels, trained.model.predict(trained.images))
    mistakes = {
        f"{label} taken for {guess}": int(count)
        for (label, guess), count in np.ndenumerate(counts)
        if count and label != guess
    }
    return Score(float(np.trace(counts) / counts.sum()), mistakes)


pipeline = Pipeline().stage("train", train).stage("evaluate", evaluate)

if __name__ == "__main__":
    score = pipeline.run(name="digits-train")
    print(f"accuracy {score.accuracy:.3f}; most often {max(score.mistakes, key=score.mistakes.__getitem__)}")
