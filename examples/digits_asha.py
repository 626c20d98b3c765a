"""The sweep of digits.py, with a search that learns and halves: TPE suggests, ASHA promotes.

    sweep run examples/digits_asha.py

Every trial trains one epoch; the best third of those goes on to three, of these to nine, and so on. What
pauses keeps its checkpoint and goes on from there when it is promoted.
"""

from digits import SPACE, train  # type: ignore[import-not-found]  # it lies beside this script

from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment
from metta.sweep.optimizers import OptunaOptimizer
from metta.sweep.schedulers import ASHAScheduler

sweep = SweepExperiment(
    objective=train,
    search_space=SPACE,
    optimizer=OptunaOptimizer(sampler="TPE"),
    scheduler=ASHAScheduler(max_epochs=27),
    executor=LocalExecutor(max_parallel=2),
    metric="accuracy",
    seed=7,
)

if __name__ == "__main__":
    results = sweep.run(budget=80)
    print(f"best accuracy {results.best_metric:.4f} with {results.best_params}")
