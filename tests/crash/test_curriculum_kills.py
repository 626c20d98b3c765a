"""kill -9 at random moments of a curriculum: of its worker, its server, or both."""

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from random import Random
from time import monotonic, sleep
from typing import Any

import pytest

from metta.sweep.client.experiment_handle import ExperimentHandle
from metta.sweep.contracts.errors import ServerError, SweepFailed
from metta.sweep.contracts.outcomes import AttemptFailed, NestedEnded, StageEnded
from metta.sweep.experiments import CurriculumContext
from metta.sweep.stores.files import FileStore
from tests.crash import training
from tests.crash.evidence import Evidence, Told
from tests.crash.lessons import Lessons
from tests.crash.projects import Project, kill

KILLS = int(os.environ.get("METTA_SWEEP_TEST_KILLS", "10"))
"""More of them in `make soak`."""

TRIALS = max(8, KILLS)
"""So many trials in a round are under way for long enough to be disturbed so often."""

PATIENCE_S = 60.0
"""So long after a kill, all goes on again."""


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


def reports(store: FileStore) -> int:
    """How many reports are recorded of all sweeps."""
    return sum(Evidence(name, store.root).reports() for name in store.names())


def result_of(handle: ExperimentHandle) -> CurriculumContext:
    """The result, by a client that brings back whatever is killed; a server may be killed as it begins."""
    while True:
        try:
            ctx: CurriculumContext = handle.result()
        except ServerError:
            continue
        return ctx


def killing(here: Project, name: str, total: int, end: "Future[Any]") -> list[str]:
    """Kill at moments spread over all reports, until the curriculum is over; who was killed."""
    rng, store = Random(11), FileStore(here.store)
    killed: list[str] = []
    victims: dict[str, Callable[[], list[int]]] = {
        "worker": lambda: here.workers(name),
        "server": here.server,
        "both": lambda: [*here.server(), *here.workers(name)],
    }
    for n in range(KILLS):
        due, later_s = total * (n + rng.random()) / KILLS, rng.uniform(0.0, 1.0)
        deadline = monotonic() + PATIENCE_S
        while reports(store) < due and not end.done():
            assert monotonic() < deadline, f"nothing goes on after {killed}"
            sleep(0.005)
        sleep(later_s)
        who = rng.choice([*victims])
        while not (pids := victims[who]()) and not end.done():
            sleep(0.01)  # it was killed just now, and begins again
        if pids and not end.done():
            kill(*pids)
            killed.append(who)
    return killed


def undisturbed(curriculum: Lessons, store: Path) -> CurriculumContext:
    """What a curriculum comes to when nobody kills anything: in this process, where steps take no time."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("METTA_SWEEP_STORE", str(store))
        patched.setattr(training, "STEP_S", 0.0)
        ctx: CurriculumContext = curriculum.run_local()
        return ctx


@pytest.mark.timeout(120 + 30 * KILLS)
def test_a_curriculum_comes_to_the_same_end_and_does_nothing_twice(here: Project, tmp_path: Path) -> None:
    curriculum = Lessons(trials_per_task=TRIALS)
    expected = undisturbed(curriculum, tmp_path / "undisturbed")
    stories = stories_of(expected, tmp_path / "undisturbed")
    assert [result.mastered for result in expected.results.values()] == [True, True, False, True]
    handle = curriculum.start(name="lessons")
    total = sum(len(told.reports) for story in stories for told in story)
    with ThreadPoolExecutor(1) as pool:
        end = pool.submit(result_of, handle)
        killed = killing(here, "lessons", total, end)
        ctx = end.result()
    assert len(killed) >= 0.8 * KILLS, "most of the moments came in time"
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


@pytest.mark.timeout(120)
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
