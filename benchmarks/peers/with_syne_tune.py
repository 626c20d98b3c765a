"""Syne Tune on its local backend: ``python -m benchmarks.peers.with_syne_tune TRIALS``."""

import os
import sys
from pathlib import Path

os.environ["SYNETUNE_FOLDER"] = str(Path.cwd())  # read while it is imported

from syne_tune import StoppingCriterion, Tuner  # type: ignore[import-not-found]  # a peer, see with_ray.py
from syne_tune.backend import LocalBackend  # type: ignore[import-not-found]
from syne_tune.config_space import uniform  # type: ignore[import-not-found]
from syne_tune.optimizer.baselines import RandomSearch  # type: ignore[import-not-found]

SLOTS = 2
POLL_S = 0.05  # instead of five seconds, to see what it can do


def main(trials: int) -> None:
    """Run so many trials, each of which is a process."""
    Tuner(
        trial_backend=LocalBackend(str(Path(__file__).with_name("syne_tune_trial.py"))),
        scheduler=RandomSearch({"x": uniform(0, 1)}, metrics=["accuracy"], do_minimize=False),
        stop_criterion=StoppingCriterion(max_num_trials_completed=trials),
        n_workers=SLOTS,
        sleep_time=POLL_S,
    ).run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
