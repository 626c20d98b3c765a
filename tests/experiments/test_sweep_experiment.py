from pathlib import Path

from metta.sweep import Uniform
from metta.sweep.experiments import SweepExperiment


def test_smoke(project: Path) -> None:
    (project / "mine.py").write_text("def train(params):\n    return {'accuracy': params['x']}\n")
    results = SweepExperiment("mine.py:train", {"x": Uniform(0, 1)}, seed=1).run(budget=5)
    assert len(results.trials) == 5
