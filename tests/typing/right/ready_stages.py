"""Ready-made stages: what flows is a context, whether they are given as they are or with options."""

from typing import Any, assert_type

from metta.sweep import Trial, Uniform
from metta.sweep.experiments import Experiment, SweepContext
from metta.sweep.experiments.base import Pipeline

SPACE = {"x": Uniform(0, 1)}


def train(trial: Trial) -> dict[str, float]:
    return {"loss": trial.params["x"]}


class Refine(Experiment):
    search_space = SPACE
    objective = train
    threshold: float = 0.9

    def pipeline(self) -> Pipeline[SweepContext]:
        return (
            Pipeline()
            .stage("explore", self.random_search(n_trials=50, resources_per_trial=0.5))
            .stage("model", self.bayesian_optimize(n_trials=100, acquisition="UCB", beta=2.0))
            .stage("fit", self.fit_gaussian_process)
            .stage("near", self.intensive_local_search(n_trials=10))
            .stage("nearer", self.intensive_local_search)
            .stage("far", self.continue_global_search)
            .stage("mine", self.look)
            .stage("validate", self.final_evaluation(n_seeds=10))
            .stage("again", self.final_evaluation)
        )

    def hybrid(self, critical: dict[str, list[float]]) -> Pipeline[Any]:
        return (
            Pipeline()
            .parallel(
                [self.random_search(n=20), self.grid_search(params=critical), self.sobol_sequence(n=20)]
            )
            .stage("merge", self.combine_observations)
            .conditional(
                lambda ctx: ctx.best_score > self.threshold,
                Pipeline().stage("local", self.intensive_local_search),
                Pipeline().stage("global", self.continue_global_search),
            )
        )

    def look(self, context: SweepContext) -> SweepContext:
        assert_type(context.best_score, float)
        return context


async def by_hand() -> None:
    refine = Refine(threshold=0.5)
    context = await refine.random_search(n=3)(SweepContext())
    assert_type(context, SweepContext)
    assert_type(await refine.intensive_local_search(context), SweepContext)
    assert_type(await refine.intensive_local_search(radius=0.1)(context), SweepContext)
    assert_type(await refine.final_evaluation(3, top_k=1)(context), SweepContext)
    assert_type(await refine.combine_observations(context), SweepContext)
