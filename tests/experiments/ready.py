"""Experiments of ready-made stages."""

from typing import Any, ClassVar

from metta.sweep import Choice, Integer, LogUniform, SearchSpace, Trial, Uniform
from metta.sweep.experiments import Experiment, SweepContext
from metta.sweep.experiments.base import Pipeline


def climb(trial: Trial) -> dict[str, float]:
    """Highest at (0.3, 0.6); how high depends a little on the seed."""
    x, y = trial.params["x"], trial.params["y"]
    return {"height": 1 - (x - 0.3) ** 2 - (y - 0.6) ** 2 + (trial.seed % 1000) * 1e-6}


PLANE = SearchSpace({"x": Uniform(0, 1), "y": Uniform(0, 1)})

MODELS = SearchSpace(
    {
        "lr": LogUniform(1e-4, 1.0, center=0.1),
        "model": Choice(["cnn", "mlp", "linear"]),
        "cnn.layers": Integer(1, 4),
        "mlp.width": Integer(16, 64),
    }
)


class Hill(Experiment):
    search_space: ClassVar[Any] = PLANE  # which classes derived from it say otherwise
    objective: ClassVar[Any] = climb
    seed = 1
    good: float = 0.9

    def pipeline(self) -> Pipeline[SweepContext]:
        return (
            Pipeline()
            .stage("explore", self.random_search(n_trials=6, resources_per_trial=0.5))
            .stage("model", self.bayesian_optimize(n_trials=4, acquisition="UCB", beta=2.0))
            .stage("validate", self.final_evaluation(n_seeds=3, top_k=2))
        )


class Unsaid(Experiment):
    """Its objective is said by classes derived from it."""

    search_space = PLANE

    def pipeline(self) -> Pipeline[SweepContext]:
        return Pipeline().stage("explore", self.random_search(2))


class Hybrid(Hill):
    def pipeline(self) -> Pipeline[Any]:
        return (
            Pipeline()
            .parallel(
                [
                    self.random_search(n=3),
                    self.grid_search(params={"x": [0.25, 0.75]}),
                    self.sobol_sequence(n=4),
                ]
            )
            .stage("merge", self.combine_observations)
            .conditional(
                lambda ctx: ctx.best_score > self.good,
                Pipeline().stage("local", self.intensive_local_search),
                Pipeline().stage("global", self.continue_global_search(n_trials=2)),
            )
        )


def grow(params: dict[str, Any]) -> float:
    """A loss, although nothing says so."""
    if params["model"] == "mlp" and params["mlp.width"] > 60:
        raise ValueError("no memory for that")
    return float(abs(params["lr"] - 0.01)) + (0.5 if params["model"] == "cnn" else 0.0)


class Networks(Experiment):
    search_space = MODELS
    objective = grow
    goal = "minimize"
    metric = "loss"
    seed = 5

    def pipeline(self) -> Pipeline[SweepContext]:
        return Pipeline().stage("explore", self.random_search(12))
