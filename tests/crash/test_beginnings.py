"""kill -9 during a sweep that began with another one: what it knew before is not lost."""

from typing import Any

from metta.sweep.client.sweeps import Sweeps
from metta.sweep.experiments import SweepExperiment
from metta.sweep.optimizers import OptunaOptimizer
from tests.crash.projects import Project, kill
from tests.crash.training import STEPS, experiment, narrow, train

BUDGET = 6


def test_the_worker_and_the_sweep_it_began_with(here: Project) -> None:
    begun: dict[str, Any] = {
        "optimizer": OptunaOptimizer(n_startup_trials=2),
        "warm_start": "earlier",
        "initial_points": [{"rate": 0.05}],
    }
    narrow.run(5, debug=True, name="earlier")
    experiment(train, **begun).run(BUDGET, debug=True, name="undisturbed")
    experiment(train, **begun).start(BUDGET, name="begun")
    evidence = here.evidence("begun")
    before = []
    for trials in (0, 3):
        evidence.wait_for(trials * STEPS + 5)
        kill(*evidence.wait_until(lambda: here.workers("begun")))
        before.append(evidence.recorded())
        (here.store / "sweeps/earlier/ledger.jsonl").unlink(missing_ok=True)
        Sweeps()  # any command sets going again what was killed
    evidence.wait_for_end()
    assert SweepExperiment.attach("begun").result().progress.counts.completed == BUDGET
    evidence.assert_complete(BUDGET)
    evidence.assert_kept(*before)
    assert evidence.story() == here.evidence("undisturbed").story()
    assert len(evidence.table().known) == 5
    assert evidence.epochs() > 1
