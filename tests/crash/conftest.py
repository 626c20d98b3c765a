"""What kill tests share: a project to kill things in, and the sweep as it goes when nobody does."""

import os
from functools import cache
from pathlib import Path

import pytest

from metta.sweep.experiments import SweepExperiment
from tests.crash import training
from tests.crash.evidence import Evidence, Stories, Story
from tests.crash.projects import Project
from tests.crash.training import halving, narrow

ROOT = str(Path(__file__).parents[2])


@pytest.fixture
def here(project: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The project in which the test stands; processes that it starts find the modules of these tests."""
    monkeypatch.setenv("PYTHONPATH", ROOT, prepend=os.pathsep)
    return Project(project)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """What becomes of `narrow` when nobody kills anything; a shorter sweep is its beginning."""
    return told(narrow, 60, tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture(scope="session")
def undisturbed_halving(tmp_path_factory: pytest.TempPathFactory) -> Stories:
    """The same of `halving`, for any number of trials: a shorter one is another one."""
    return cache(lambda budget: told(halving, budget, tmp_path_factory.mktemp("undisturbed")))


def told(experiment: SweepExperiment, budget: int, store: Path) -> Story:
    """A sweep that is run in this process, where steps need not take time."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("METTA_SWEEP_STORE", str(store))
        patched.setattr(training, "STEP_S", 0.0)
        experiment.run(budget, debug=True, name="undisturbed")
    return Evidence("undisturbed", store).story()
