"""kill -9 at random moments of the examples: of their workers, their servers, or both."""

from pathlib import Path

import pytest

from examples import curriculum, hybrid_search
from metta.sweep.contracts.outcomes import AttemptFailed
from metta.sweep.executors import LocalExecutor
from metta.sweep.stores.files import FileStore
from tests.crash.evidence import Evidence
from tests.crash.killing import Progress, disturbed, reports, undisturbed
from tests.crash.projects import Project
from tests.crash.test_curriculum_kills import lessons_in
from tests.crash.test_hybrid_kills import found_in

KILLS = 6
"""Their trials are long and few: killed more often, they would count as trials that no machine can run."""

FIRST, SECOND, THIRD, LAST = (task.model_copy(update={"mastery": 1.0}) for task in curriculum.Reading.tasks)

ONE_SLOT = LocalExecutor(max_parallel=1)


class Reading(curriculum.Reading):
    """Asks for more than anybody reads, so that all tasks take all of their trials."""

    tasks = (FIRST, SECOND, THIRD, LAST)
    unmastered = "go_on"
    executor = ONE_SLOT


class Hybrid(hybrid_search.Hybrid):
    executor = ONE_SLOT


def completed(store: FileStore) -> int:
    """How many trials of all sweeps have come to their end."""
    return sum(Evidence(name, store.root).recorded().count(b'"type":"completed"') for name in store.names())


@pytest.mark.timeout(600)
def test_the_curriculum_comes_to_the_same_end(here: Project, tmp_path: Path) -> None:
    expected = undisturbed(Reading(), tmp_path / "undisturbed")
    total = reports(FileStore(tmp_path / "undisturbed"))
    Reading().start(name="reading")
    ctx = disturbed(here, Reading, "reading", Progress(reports, total), KILLS)
    assert lessons_in(ctx) == lessons_in(expected)
    assert not failures_of(here, "reading")


@pytest.mark.timeout(600)
def test_the_search_in_phases_comes_to_the_same_end(here: Project, tmp_path: Path) -> None:
    expected = undisturbed(Hybrid(), tmp_path / "undisturbed")
    total = completed(FileStore(tmp_path / "undisturbed"))
    Hybrid().start(name="hybrid")
    ctx = disturbed(here, Hybrid, "hybrid", Progress(completed, total), KILLS)
    assert found_in(ctx) == found_in(expected)
    assert not failures_of(here, "hybrid")


def failures_of(here: Project, name: str) -> list[AttemptFailed]:
    """Attempts of its stages that failed."""
    entries = FileStore(here.store).outcome_log(name).entries()
    return [entry for entry in entries if isinstance(entry, AttemptFailed)]
