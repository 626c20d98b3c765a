"""The leaderboard of a trial table: the best trials, whatever becomes of them."""

from collections.abc import Callable
from functools import partial
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from metta.sweep.contracts.decisions import Resume, Retry
from metta.sweep.stores.trials import TrialTable
from tests.stores.stories import Story, ranking


def test_of_equals_the_earlier_one_ranks_first() -> None:
    story = Story(metric="acc")
    story.start(4)
    for trial in (3, 1, 2, 0):
        story.complete(trial, acc=0.5 + (trial == 2))
    assert ranking(story.table) == [(2, 1.5), (0, 0.5), (1, 0.5), (3, 0.5)]
    assert ranking(story.table, limit=2) == [(2, 1.5), (0, 0.5)]


def test_the_best_trial_whose_value_becomes_worse_loses_its_place() -> None:
    story = Story(metric="acc")
    story.start(3)
    story.complete(0, acc=0.7)
    story.report(1, step=1, acc=0.9)
    story.report(2, step=1, acc=0.8)
    best = [story.table.best]
    story.report(1, step=2, acc=0.75)
    best.append(story.table.best)
    story.fail(2)
    best.append(story.table.best)
    story.complete(1, acc=0.1)
    best.append(story.table.best)
    assert [record.number if record else None for record in best] == [1, 2, 1, 0]


def sorted_anew(table: TrialTable, limit: int | None) -> list[tuple[int, float]]:
    """The leaderboard as it would be written without a thought of speed."""
    values = [(r.number, table.value(r)) for r in table.records if r.status != "failed"]
    found = [(number, value) for number, value in values if value is not None]
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:limit]


@given(seed=st.integers(0, 2**32), count=st.integers(1, 60))
def test_the_leaderboard_is_that_of_sorting_all_trials_whatever_happens(seed: int, count: int) -> None:
    random = Random(seed)
    story = Story(metric="acc")
    for _ in range(count):
        trial = random.randrange(len(story.table.records) + 1)
        if trial == len(story.table.records):
            story.start()
            continue
        record = story.table.records[trial]
        acc = random.randrange(4) / 4
        if record.status == "paused":
            story.decide(Resume(trial=trial, segment=record.segment + 1))
        elif record.status == "failed":
            story.decide(Retry(trial=trial, segment=record.segment, attempt=record.attempt + 1))
        elif random.random() < 0.4:
            story.report(trial, (record.step or 0) + 1, acc=acc)
        else:
            ends: list[Callable[[], bool]] = [
                partial(story.complete, trial, acc=acc),
                partial(story.fail, trial),
                partial(story.pause, trial, record.step or 1),
                partial(story.end, trial),
            ]
            random.choice(ends)()
        limit = random.choice([1, 3, None])
        assert ranking(story.table, limit) == sorted_anew(story.table, limit)
    best = story.table.best
    assert ([best.number] if best else []) == [number for number, _ in sorted_anew(story.table, 1)]
