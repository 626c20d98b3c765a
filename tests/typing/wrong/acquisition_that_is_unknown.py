from typing import Any

from metta.sweep.experiments import Experiment
from metta.sweep.experiments.base import Pipeline


class Refine(Experiment):
    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("model", self.bayesian_optimize(n_trials=3, acquisition="UBC"))
