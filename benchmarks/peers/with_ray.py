"""Ray Tune with two actors that it uses again: ``python -m benchmarks.peers.with_ray random|asha TRIALS``."""

import os
import sys
from pathlib import Path
from typing import Any

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # read while it is imported

from ray import init, shutdown, tune  # type: ignore[import-not-found]  # a peer, installed only to be measured
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler  # type: ignore[import-not-found]

from benchmarks.marks import marked

SLOTS = 2


def identity(config: dict[str, float]) -> None:
    """The parameter itself."""
    with marked():
        accuracy = config["x"]
    tune.report({"accuracy": accuracy})


def train(config: dict[str, float]) -> None:
    """Train epoch by epoch; what is stopped does not come back from a report."""
    from benchmarks.training import EPOCHS, Training

    number = int(tune.get_context().get_trial_id().rpartition("_")[2])
    training = Training(**config, seed=number)
    while training.epoch < EPOCHS:
        with marked(number):
            accuracy = training.train()
        tune.report({"accuracy": accuracy})


WORK: dict[str, tuple[Any, dict[str, Any], Any]] = {
    "random": (identity, {"x": tune.uniform(0, 1)}, FIFOScheduler()),
    "asha": (
        train,
        {"learning_rate": tune.loguniform(3e-4, 3e-2), "alpha": tune.loguniform(1e-6, 1e-2)},
        ASHAScheduler(max_t=27, grace_period=1, reduction_factor=3),
    ),
}


def main(name: str, trials: int) -> None:
    """Run so many trials."""
    objective, space, scheduler = WORK[name]
    folder = Path.cwd()
    init(
        num_cpus=SLOTS,
        include_dashboard=False,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
        _temp_dir=str(folder / "ray"),
    )
    tune.Tuner(
        objective,
        param_space=space,
        tune_config=tune.TuneConfig(
            metric="accuracy",
            mode="max",
            num_samples=trials,
            scheduler=scheduler,
            max_concurrent_trials=SLOTS,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(storage_path=str(folder / "results"), verbose=0),
    ).fit()
    shutdown()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
