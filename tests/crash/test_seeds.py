"""Equal seeds give equal sweeps, in any process."""

from tests.crash.evidence import Stories
from tests.crash.projects import TRAINING, Project

BUDGET = 16


def test_a_sweep_does_not_depend_on_how_python_hashes(here: Project, undisturbed_halving: Stories) -> None:
    here.sweep(
        "run", f"{TRAINING}:halving", "--name", "hashed", "--budget", str(BUDGET), PYTHONHASHSEED="4242"
    )
    assert here.evidence("hashed").story() == undisturbed_halving(BUDGET)
