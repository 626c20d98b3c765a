from metta.sweep.experiments import Experiment
from metta.sweep.optimizers import Optimizer, RandomOptimizer


class Tuning(Experiment):
    meta_optimizer: Optimizer = RandomOptimizer()


Tuning(meta_optimizer=3)
