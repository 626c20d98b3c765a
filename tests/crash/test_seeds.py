"""Equal seeds give equal sweeps, in any process."""

import pytest

from tests.crash.evidence import Story
from tests.crash.projects import Project

BUDGET = 8


@pytest.mark.parametrize(("hashes", "options"), [("1", []), ("4242", ["--debug"])])
def test_a_sweep_does_not_depend_on_how_python_hashes(
    here: Project, undisturbed: Story, hashes: str, options: list[str]
) -> None:
    here.sweep(*here.run("hashed", BUDGET, *options), PYTHONHASHSEED=hashes)
    assert here.evidence("hashed").story() == undisturbed[:BUDGET]
