import asyncio

import pytest

from metta.sweep import SweepFailed
from metta.sweep.client.results import Results
from metta.sweep.stores.trials import TrialTable
from tests.stores.stories import Story


def finished() -> TrialTable:
    story = Story(metric="accuracy")
    story.start(3)
    story.complete(0, accuracy=0.5, seconds=3.0)
    story.complete(1, accuracy=0.9, seconds=4.0)
    story.fail(2)
    return story.table


def test_the_best_trial_and_all_others() -> None:
    results = Results.of("digits", finished())
    assert results.best_trial.number == 1
    assert results.best_params == {"x": 0.125}
    assert results.best_metric == 0.9
    assert results.final_performance == {"accuracy": 0.9, "seconds": 4.0}
    assert [trial.status for trial in results.trials] == ["completed", "completed", "failed"]
    assert [row.trial for row in results.leaderboard()] == [1, 0]
    assert results.progress.counts.failed == 1
    assert repr(results) == "Results('digits', 3 trials, best accuracy 0.9 of trial 1)"


def test_without_a_value_there_is_no_best_trial() -> None:
    story = Story()
    story.start()
    story.fail(0)
    results = Results.of("digits", story.table)
    assert repr(results) == "Results('digits', 1 trials)"
    with pytest.raises(SweepFailed, match="no trial of digits has a value; 1 were started"):
        results.best_metric  # noqa: B018  # reading it raises


@pytest.mark.parametrize("awaits", [True, False])
def test_pending_results_wait_once_for_the_end(awaits: bool) -> None:
    waits = 0

    async def ending() -> TrialTable:
        nonlocal waits
        waits += 1
        await asyncio.sleep(0)
        return finished()

    results = Results("digits", ending)
    assert repr(results) == "Results('digits', pending)"
    assert waits == 0  # to show them is not to read them

    async def best() -> float:
        return (await results).best_metric

    assert (asyncio.run(best()) if awaits else results.best_metric) == 0.9
    assert len(results.trials) == 3
    assert waits == 1


def test_who_stops_awaiting_stops_the_wait() -> None:
    was_cancelled = False

    async def ending() -> TrialTable:
        nonlocal was_cancelled
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            was_cancelled = True
            raise
        return finished()

    async def impatient() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(_awaited(Results("digits", ending)), 0.1)
        while not was_cancelled:
            await asyncio.sleep(0.01)

    asyncio.run(impatient())


async def _awaited(results: Results) -> Results:
    return await results
