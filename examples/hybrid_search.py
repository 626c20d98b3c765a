"""Search in three phases: explore widely, model what was found out, and validate the best with other seeds.

    python examples/hybrid_search.py

The phases are ready-made stages. Each search in them is a sweep of its own, which begins with everything that
was observed before it; what flows is a `SweepContext`. Kill anything at any moment, then
`sweep attach digits-hybrid`: neither phases nor trials that are recorded run again.
"""

from functools import cache
from typing import Any

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from metta.sweep import Choice, Integer, LogUniform, SearchSpace, Trial
from metta.sweep.experiments import Experiment, SweepContext
from metta.sweep.experiments.base import Pipeline

EPOCHS = 12

SPACE = SearchSpace(
    {
        "learning_rate": LogUniform(1e-4, 1e-1),
        "alpha": LogUniform(1e-6, 1e-1),
        "hidden": Integer(8, 128, log=True),
        "activation": Choice(["relu", "tanh", "logistic"]),
    }
)


@cache
def digits() -> list[Any]:
    """Images and labels for training and validation; a process loads them once."""
    images, labels = load_digits(return_X_y=True)
    return list(train_test_split(images / 16.0, labels, test_size=0.25, random_state=0, stratify=labels))


def train(trial: Trial) -> dict[str, float]:
    """Train a small network; how well it learns depends on the seed, too."""
    images, valid_images, labels, valid_labels = digits()
    model = MLPClassifier(
        hidden_layer_sizes=(trial.params["hidden"],),
        learning_rate_init=trial.params["learning_rate"],
        alpha=trial.params["alpha"],
        activation=trial.params["activation"],
        random_state=trial.seed,
    )
    for _ in range(EPOCHS):
        model.partial_fit(images, labels, classes=range(10))
    return {"accuracy": float(model.score(valid_images, valid_labels))}


class Hybrid(Experiment):
    search_space = SPACE
    objective = train
    metric = "accuracy"
    goal = "maximize"
    seed = 1
    promising: float = 0.95

    def pipeline(self) -> Pipeline[SweepContext]:
        return (
            Pipeline()
            .stage("explore", self.explore())
            .stage("model", self.model())
            .stage("validate", self.final_evaluation(n_seeds=4, top_k=3))
        )

    def explore(self) -> Pipeline[SweepContext]:
        """Three ways to look around, side by side."""
        critical = {"learning_rate": [1e-3, 1e-2], "activation": ["relu", "tanh"]}
        return (
            Pipeline()
            .parallel([self.random_search(n=8), self.grid_search(params=critical), self.sobol_sequence(n=8)])
            .stage("merge", self.combine_observations)
        )

    def model(self) -> Pipeline[Any]:
        """Look closer where it is promising; else go on everywhere, and explore more."""
        return (
            Pipeline()
            .stage("fit", self.fit_gaussian_process)
            .conditional(
                lambda ctx: ctx.best_score > self.promising,
                Pipeline().stage("near", self.intensive_local_search(n_trials=10, radius=0.15)),
                Pipeline().stage("far", self.bayesian_optimize(n_trials=20, acquisition="UCB", beta=3.0)),
            )
        )


if __name__ == "__main__":
    found = Hybrid().run(name="digits-hybrid")
    best = found.candidates[0]
    print(f"{len(found.trials)} trials; accuracy {best.mean:.3f} +- {best.deviation:.3f} with {best.params}")
