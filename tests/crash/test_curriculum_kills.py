"""kill -9 at random moments of a curriculum: of its worker, its server, or both."""

from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from metta.sweep.contracts.errors import SweepFailed
from metta.sweep.contracts.outcomes import AttemptFailed, NestedEnded, StageEnded
from metta.sweep.experiments import CurriculumContext
from metta.sweep.stores.files import FileStore
from tests.crash.evidence import Evidence, Told
from tests.crash.killing import KILLS, PATIENCE_S, TRIALS, Progress, disturbed, reports, undisturbed
from tests.crash.lessons import Lessons
from tests.crash.projects import Project


def sweeps_of(ctx: CurriculumContext, store: Path) -> list[Evidence]:
    """What is left of the sweeps of a curriculum, in their order."""
    return [Evidence(name, store) for result in ctx.results.values() for name in result.sweeps]


def lessons_in(ctx: CurriculumContext) -> list[tuple[Any, ...]]:
    """All that has to be the same of the result, however often the curriculum was interrupted."""
    results = ctx.results.values()
    return [(r.task, r.mastered, r.score, r.params, r.metrics, r.rounds, r.trials) for r in results]


def stories_of(ctx: CurriculumContext, store: Path) -> list[list[Told]]:
    """The same of its sweeps; where weights lay depends on who wrote them."""
    return [[told._replace(params=_moved(told.params)) for told in e.story()] for e in sweeps_of(ctx, store)]


def _moved(params: dict[str, Any]) -> dict[str, Any]:
    begin = params["init_from"]
    return params | {"init_from": begin and Path(begin).name}


@pytest.mark.timeout(120 + 30 * KILLS)
def test_a_curriculum_comes_to_the_same_end_and_does_nothing_twice(here: Project, tmp_path: Path) -> None:
    curriculum = Lessons(trials_per_task=TRIALS)
    expected = undisturbed(curriculum, tmp_path / "undisturbed")
    stories = stories_of(expected, tmp_path / "undisturbed")
    assert [result.mastered for result in expected.results.values()] == [True, True, False, True]
    curriculum.start(name="lessons")
    total = sum(len(told.reports) for story in stories for told in story)
    ctx = disturbed(here, Lessons, "lessons", Progress(reports, total))
    assert lessons_in(ctx) == lessons_in(expected)
    assert stories_of(ctx, here.store) == stories
    for evidence in sweeps_of(ctx, here.store):
        evidence.assert_sound()  # no step that was recorded was taken again
    store = FileStore(here.store)
    assert sorted(store.names()) == sorted(e.name for e in sweeps_of(ctx, here.store))
    entries = [*store.outcome_log("lessons").entries()]
    stages = [str(entry.at) for entry in entries if isinstance(entry, StageEnded)]
    rounds = sum(result.rounds for result in expected.results.values())
    turns = [f"{stage}[{n}]" for n in range(rounds) for stage in ("select", "run")]
    assert stages == ["begin", *turns]
    ended = [entry.name for entry in entries if isinstance(entry, NestedEnded)]
    assert ended == [e.name for e in sweeps_of(ctx, here.store)]
    assert not [entry for entry in entries if isinstance(entry, AttemptFailed)]


def test_one_that_was_stopped_goes_on_where_it_was(here: Project, tmp_path: Path) -> None:
    curriculum = Lessons(trials_per_task=4)
    handle = curriculum.start(name="lessons")
    store = FileStore(here.store)
    deadline = monotonic() + PATIENCE_S
    while reports(store) < 40:  # which is behind the first lesson
        assert monotonic() < deadline
        sleep(0.01)
    handle.stop()
    with pytest.raises(SweepFailed, match="was stopped before its end"):
        handle.result()
    handle = curriculum.start(name="lessons", resume=True)
    ctx = handle.result()
    expected = undisturbed(curriculum, tmp_path / "undisturbed")
    assert lessons_in(ctx) == lessons_in(expected)
    for evidence in sweeps_of(ctx, here.store):
        evidence.assert_nothing_done_again()
