from metta.sweep.experiments import Experiment
from metta.sweep.experiments.base import Pipeline


class Refine(Experiment):
    rounds: int
    threshold: float = 0.9

    def pipeline(self) -> Pipeline[float]:
        return Pipeline().stage("score", self.score)

    def score(self) -> float:
        return self.threshold


Refine(rounds=3, treshold=0.8)
