import asyncio
from pathlib import Path

import pytest

from metta.sweep import SweepFailed
from metta.sweep.client.results import Results
from metta.sweep.contracts.budgets import Control
from metta.sweep.contracts.chunks import Chunk
from metta.sweep.contracts.decisions import Start
from metta.sweep.contracts.errors import SweepNotFound
from metta.sweep.contracts.events import Completed, Created, Opened
from metta.sweep.stores.files import FileStore
from metta.sweep.stores.trials import TrialTable
from tests.stores.stories import Story, spec


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


def test_they_are_handed_on_by_the_name_of_their_sweep(tmp_path: Path) -> None:
    begun = Opened(at=1.0, epoch=1, control=Control(run="r"))
    events = (Created(at=1.0, spec=spec(metric="accuracy")), begun)
    ledger = FileStore(tmp_path).ledger("digits")
    ledger.commit(Chunk(n=0, writer="w", epoch=1, events=events))
    ledger.commit(Chunk(n=1, writer="w", epoch=1, decisions=(Start(trial=0, params={"x": 0.5}, seed=0),)))
    done = Completed(at=2.0, trial=0, metrics={"accuracy": 0.9})
    ledger.commit(Chunk(n=2, writer="w", epoch=1, events=(done,)))
    packed = Results.of("digits", finished()).__pack__()
    assert Results.__unpack__(packed, str(tmp_path)).best_metric == 0.9
    with pytest.raises(SweepNotFound, match="there is no sweep 'digit' here; did you mean digits"):
        Results.__unpack__("digit", str(tmp_path))


def test_a_summary_is_plain_json() -> None:
    assert Results.of("digits", finished()).summary() == {
        "sweep": "digits",
        "metric": "accuracy",
        "goal": "maximize",
        "best_metric": 0.9,
        "best_params": {"x": 0.125},
        "trials": 3,
        "completed": 2,
        "failed": 1,
        "stopped": 0,
    }
    none = Results.of("empty", Story().table).summary()
    assert (none["best_metric"], none["best_params"], none["metric"], none["trials"]) == (None, None, None, 0)
