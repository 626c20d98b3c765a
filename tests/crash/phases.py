"""A search in phases that takes its time: two ways to look around, a model, and a validation."""

from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import Experiment, SweepContext
from metta.sweep.experiments.base import Pipeline
from tests.crash import training


class Phases(Experiment):
    objective = training.train
    search_space = training.SPACE
    metric = "loss"
    seed = 7
    executor = LocalExecutor(max_parallel=1)
    trials: int = 6

    def pipeline(self) -> Pipeline[SweepContext]:
        return (
            Pipeline()
            .parallel([self.random_search(n=self.trials), self.sobol_sequence(n=self.trials)])
            .stage("merge", self.combine_observations)
            .conditional(
                lambda ctx: ctx.best_score > 0.0,
                Pipeline().stage("model", self.bayesian_optimize(n_trials=self.trials)),
                Pipeline().stage("near", self.intensive_local_search(n_trials=self.trials)),
            )
            .stage("validate", self.final_evaluation(n_seeds=2, top_k=2))
        )
