"""Experiments: the checkers see fields as arguments of the constructor, and as attributes."""

from pathlib import Path
from typing import ClassVar, NamedTuple, assert_type

from metta.sweep.experiments import Experiment
from metta.sweep.experiments.base import Pipeline


class Score(NamedTuple):
    accuracy: float


class Refine(Experiment):
    objective = "tasks:train"
    limit: ClassVar[int] = 3
    rounds: int
    threshold: float = 0.9
    folder: Path | None = None

    def pipeline(self) -> Pipeline[Score]:
        return Pipeline().stage("score", self.score).through(Score, checkpoint=True)

    def score(self) -> Score:
        return Score(self.threshold / self.rounds)


class Longer(Refine):
    patience: int = 3


experiment = Longer(rounds=3, threshold=0.8, patience=5)
assert_type(experiment.threshold, float)


def runs() -> None:  # is not called: it would run for good
    assert_type(experiment.pipeline().run(name="refine"), Score)
    assert_type(Refine(rounds=1).start(3).experiment_id, str)
