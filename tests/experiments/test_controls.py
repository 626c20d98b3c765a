"""What people want of a running sweep comes true while it runs."""

from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest

from metta.sweep import Budget, LogUniform
from metta.sweep.client.handle import SweepHandle
from metta.sweep.client.results import table_of
from metta.sweep.contracts.chunks import Chunk
from metta.sweep.contracts.events import ControlChanged
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment
from metta.sweep.stores.trials import TrialTable

pytestmark = pytest.mark.usefixtures("project")

SCRIPT = """
from time import sleep

def train(params):
    sleep(0.1)
    return {"accuracy": params["rate"]}
"""

SOON_S = 10.0
"""It takes one or two on a machine that has nothing else to do."""


@pytest.fixture
def sweep(project: Path) -> SweepExperiment:
    (project / "mine.py").write_text(SCRIPT, "utf-8")
    return SweepExperiment(
        "mine.py:train", {"rate": LogUniform(1e-3, 1.0)}, executor=LocalExecutor(2), seed=1, name="mine"
    )


def until_started(handle: SweepHandle, trials: int) -> None:
    deadline = monotonic() + 40
    while table_of(handle.ledger).counts.started < trials:
        assert monotonic() < deadline, "it does not come so far"
        sleep(0.05)


def history(handle: SweepHandle) -> Iterator[tuple[Chunk, TrialTable]]:
    """Each chunk, and what was known after it."""
    table = TrialTable()
    for chunk in handle.ledger.read():
        table.apply_chunk(chunk)
        yield chunk, table


def test_a_budget_that_is_raised_is_used_up(sweep: SweepExperiment) -> None:
    handle = sweep.start(budget=80)
    until_started(handle, 5)
    at = monotonic()
    handle.set_budget(100)
    while table_of(handle.ledger).control.budget.trials != 100:
        assert monotonic() < at + SOON_S
        sleep(0.02)
    print(f"\nthe budget acts after {monotonic() - at:.2f} s")
    results = handle.result()
    assert results.progress.counts.completed == 100
    assert {table.counts.running for _, table in history(handle) if 2 <= table.counts.started < 100} == {2}, (
        "no slot waits for it"
    )


def test_a_budget_below_what_is_done_lets_running_trials_end(sweep: SweepExperiment) -> None:
    handle = sweep.start(budget=1000)
    until_started(handle, 6)
    at = monotonic()
    handle.set_budget(3)
    counts = handle.result().progress.counts
    assert monotonic() < at + SOON_S + 5
    assert counts.started == counts.completed < 100
    assert handle.status().reason == "budget"


def test_nothing_begins_between_a_pause_and_its_end(sweep: SweepExperiment) -> None:
    handle = sweep.start(budget=30)
    until_started(handle, 4)
    handle.pause()
    deadline = monotonic() + SOON_S
    while table_of(handle.ledger).control.pause is None or table_of(handle.ledger).running:
        assert monotonic() < deadline
        sleep(0.02)
    before = table_of(handle.ledger).counts
    assert before.stopped == 0
    sleep(0.5)
    assert table_of(handle.ledger).counts == before
    assert before.started < 30
    handle.resume()
    assert handle.result().progress.counts.completed == 30


def test_concurrency_is_lowered_and_raised(sweep: SweepExperiment) -> None:
    handle = sweep.start(budget=10_000)
    for limit in (None, 1, 2, 1):
        if limit:
            handle.set_concurrency(limit)
        started = table_of(handle.ledger).counts.started
        until_started(handle, started + 20)
    handle.stop()
    handle.result().progress  # noqa: B018  # reading waits
    limits: list[tuple[int | None, set[int]]] = []
    for chunk, table in history(handle):
        if not limits or any(isinstance(event, ControlChanged) for event in chunk.events):
            limits.append((table.control.concurrency, set()))
        elif not table.control.stop:
            limits[-1][1].add(table.counts.running)
    assert [limit for limit, _ in limits[:4]] == [None, 1, 2, 1]
    for limit, seen in limits[:4]:
        assert max(seen) == 2 if limit != 1 else 1 in seen


def test_a_target_ends_it(sweep: SweepExperiment) -> None:
    results = sweep.run(Budget(trials=1000, target=0.5))
    assert results.best_metric >= 0.5
    assert results.progress.counts.started < 1000
    assert SweepExperiment.attach("mine").status().reason == "target"


def test_time_that_is_spent_ends_it(sweep: SweepExperiment) -> None:
    results = sweep.run(Budget(hours=1 / 3600))
    assert 1.0 <= results.progress.elapsed_s < 1.0 + SOON_S
    assert SweepExperiment.attach("mine").status().reason == "time"
