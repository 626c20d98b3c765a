"""Training that is short and yet real: most settings are bad, and a good one takes its epochs."""

import pickle
from functools import cache
from typing import Any, ClassVar, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.kernel_approximation import RBFSampler
from sklearn.linear_model import SGDClassifier

from metta.sweep import Choice, Integer, LogUniform, Trial

Array: TypeAlias = NDArray[Any]

EPOCHS = 27
LEARNT, COMPARED = 300, 1000
"""So many images are learnt from; those up to the second number are for validation, the rest is the test."""
NOISE = 0.2
"""So many of the labels that are learnt from are drawn anew."""

SPACE = {
    "gamma": LogUniform(1e-4, 10),
    "features": Integer(8, 256, log=True),
    "loss": Choice(["hinge", "log_loss", "modified_huber"]),
    "rate": LogUniform(1e-5, 10),
    "alpha": LogUniform(1e-7, 1),
}


class Digits(NamedTuple):
    """Images of digits, whether each is odd, and what is said of the first ones."""

    images: Array
    odd: Array
    told: Array


@cache
def digits() -> Digits:
    """Handwritten digits, in an order of their own."""
    rng = np.random.default_rng(0)
    images, labels = map(np.asarray, load_digits(return_X_y=True))
    order = rng.permutation(len(images))
    odd = labels[order] % 2
    told = np.where(rng.random(LEARNT) < NOISE, rng.integers(0, 2, LEARNT), odd[:LEARNT])
    return Digits(images[order] / 16.0, odd, told)


class Machine:
    """A linear classifier on random features of a kernel (Rahimi and Recht, 2007)."""

    epochs_of_all: ClassVar[int] = 0
    """How many epochs all machines of this process have learnt for."""

    def __init__(self, params: dict[str, Any], seed: int) -> None:
        self.epoch = 0
        self._model: Any = SGDClassifier(
            loss=params["loss"],
            alpha=params["alpha"],
            learning_rate="constant",
            eta0=params["rate"],
            random_state=seed,
        )

    def learn(self, features: Array, odd: Array) -> None:
        """One epoch."""
        self.epoch += 1
        Machine.epochs_of_all += 1
        self._model.partial_fit(features, odd, classes=(0, 1))

    def is_right(self, features: Array, odd: Array) -> Array:
        """Whether it tells each image rightly; by hand, for a library's checks take longer than an epoch."""
        margins = features @ self._model.coef_[0] + self._model.intercept_[0]
        is_right: Array = (margins > 0) == odd
        return is_right


def train(trial: Trial) -> None:
    """Learn to tell odd digits from even ones, from few images, some of which are labelled wrongly."""
    images, odd, told = digits()
    gamma, size = trial.params["gamma"], trial.params["features"]
    features = RBFSampler(gamma=gamma, n_components=size, random_state=trial.seed).fit_transform(images)
    machine = Machine(trial.params, trial.seed)
    if trial.resume_from:
        machine = pickle.loads(trial.resume_from.read_bytes())
    while machine.epoch < EPOCHS:
        machine.learn(features[:LEARNT], told)
        checkpoint = None
        if machine.epoch == trial.until_step:
            checkpoint = trial.checkpoint_dir / "machine.pickle"
            checkpoint.write_bytes(pickle.dumps(machine))
        is_right = machine.is_right(features, odd)
        trial.report(
            machine.epoch,
            accuracy=is_right[LEARNT:COMPARED].mean(),
            test_accuracy=is_right[COMPARED:].mean(),
            checkpoint=checkpoint,
        )
