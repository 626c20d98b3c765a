"""Equal seeds give equal sweeps, in any process."""

from tests.crash.evidence import Story
from tests.crash.projects import TRAINING, Project
from tests.crash.training import HALVED


def test_a_sweep_does_not_depend_on_how_python_hashes(here: Project, undisturbed_halving: Story) -> None:
    here.sweep(
        "run", f"{TRAINING}:halving", "--name", "hashed", "--budget", str(HALVED), PYTHONHASHSEED="4242"
    )
    assert here.evidence("hashed").story() == undisturbed_halving
