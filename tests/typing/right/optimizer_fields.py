"""Optimizers in fields: a class-level default is one, and its methods are stages."""

from typing import Any, NamedTuple, assert_type

from metta.sweep import Uniform
from metta.sweep.experiments import Experiment
from metta.sweep.experiments.base import Pipeline
from metta.sweep.optimizers import Optimizer, RandomOptimizer

SPACE = {"lr": Uniform(0, 1)}


class Suggested(NamedTuple):
    lr: float


class Score(NamedTuple):
    accuracy: float


def train(value: Suggested) -> Score:
    return Score(value.lr)


class Tuning(Experiment):
    meta_optimizer: Optimizer = RandomOptimizer(SPACE)
    other: RandomOptimizer = RandomOptimizer(SPACE, seed=3)

    def pipeline(self) -> Pipeline[Score]:
        return (
            Pipeline()
            .loop_while(lambda ctx: ctx.iteration < 3)
            .stage("suggest", self.meta_optimizer.suggest)
            .through(Suggested)
            .stage("train", train)
            .through(Score)
            .stage("observe", self.meta_optimizer.observe)
            .end_loop()
        )

    def fluent(self) -> Pipeline[Any]:
        return (
            Pipeline()
            .stage("suggest", self.other.suggest)
            .stage("train", self.train)
            .through(score=float)
            .stage("observe", self.other.observe)
            .stage("tell", lambda n: n.score)
        )

    def train(self, lr: float) -> float:
        self.meta_optimizer.observe(self.other.suggest(1)[0], lr)
        return lr


experiment = Tuning(meta_optimizer=RandomOptimizer(SPACE))
assert_type(experiment.meta_optimizer, Optimizer)
