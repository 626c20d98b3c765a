"""kill -9 at random moments of a search in phases."""

from pathlib import Path
from typing import Any

import pytest

from metta.sweep.contracts.outcomes import AttemptFailed, NestedEnded, StageEnded
from metta.sweep.experiments import SweepContext
from metta.sweep.stores.files import FileStore
from tests.crash.evidence import Evidence, Told
from tests.crash.killing import KILLS, TRIALS, Progress, disturbed, reports, undisturbed
from tests.crash.phases import Phases
from tests.crash.projects import Project


def found_in(ctx: SweepContext) -> list[Any]:
    """All that has to be the same of the result, however often the search was interrupted."""
    trials = [(each.trial.params, each.result) for each in ctx.observations]
    candidates = [(each.params, each.mean, each.deviation) for each in ctx.candidates]
    return [trials, ctx.best_score, ctx.best_params, candidates]


def stories(store: Path) -> list[list[Told]]:
    """The stories of all sweeps in a store, whatever they are called."""
    found = (Evidence(name, store).story() for name in FileStore(store).names())
    return sorted(found, key=repr)


@pytest.mark.timeout(120 + 30 * KILLS)
def test_a_search_in_phases_comes_to_the_same_end_and_does_nothing_twice(
    here: Project, tmp_path: Path
) -> None:
    phases = Phases(trials=TRIALS)
    expected = undisturbed(phases, tmp_path / "undisturbed")
    expected_stories = stories(tmp_path / "undisturbed")
    assert len(expected_stories) == 4
    total = sum(len(told.reports) for story in expected_stories for told in story)
    phases.start(name="phases")
    ctx = disturbed(here, Phases, "phases", Progress(reports, total))
    assert found_in(ctx) == found_in(expected)
    assert stories(here.store) == expected_stories
    store = FileStore(here.store)
    for name in store.names():
        Evidence(name, here.store).assert_sound()  # no step that was recorded was taken again
    entries = [*store.outcome_log("phases").entries()]
    assert len([entry for entry in entries if isinstance(entry, NestedEnded)]) == 4
    assert len([entry for entry in entries if isinstance(entry, StageEnded)]) == 5
    assert not [entry for entry in entries if isinstance(entry, AttemptFailed)]
