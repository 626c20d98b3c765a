"""The search of a sweep whose trials are jobs, given its orders by hand."""

import json
import os
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from metta.sweep.activities.advances import SearchAdvances
from metta.sweep.contracts.advances import Advance, AdvanceOrder, TrialNews
from metta.sweep.contracts.attempts import Attempt
from metta.sweep.contracts.budgets import Control
from metta.sweep.contracts.chunks import Chunk
from metta.sweep.contracts.errors import NameInUse, StoreError
from metta.sweep.contracts.events import Completed, Failed, Stopped
from metta.sweep.contracts.failures import Failure
from metta.sweep.contracts.sweeps import SweepInput
from metta.sweep.search.jobs import JobSearch
from metta.sweep.stores.files import FileStore
from metta.sweep.stores.ledgers import FileLedger, FileLog
from tests.workflows.jobs import job

PATIENCE_S = 10.0


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


def spec_of(**definition: object) -> SweepInput:
    return SweepInput.model_validate(job("true", **definition))


def order(spec: SweepInput | None = None, chain: str = "first", **more: Any) -> AdvanceOrder:
    control = more.pop("control", Control(run=chain))
    return AdvanceOrder(sweep_id="digits", spec=spec or spec_of(), control=control, chain=chain, **more)


def after(told: Advance, spec: SweepInput | None = None, chain: str = "first", **more: Any) -> AdvanceOrder:
    """The order that follows an answer."""
    return order(spec, chain, epoch=told.epoch, cursor=told.cursor, **more)


def begun(store: FileStore, **definition: object) -> tuple[JobSearch, Advance]:
    """A search whose first trials were handed out."""
    spec = spec_of(**definition)
    search = JobSearch(store, order(spec))
    told = search.advance(order(spec))
    return search, search.advance(after(told, spec, free=told.slots))


def reported(attempt: Attempt, steps: int) -> int:
    """Let an attempt report; returns the size of the file."""
    file = Path(attempt.folder, "reports.jsonl")
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"step": step, "metrics": {"accuracy": step}}) for step in range(1, steps + 1)]
    file.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return file.stat().st_size


def history_of(store: FileStore, trial: int = 0) -> list[tuple[int, dict[str, float]]]:
    """What is recorded of a trial, told to somebody who opens the ledger anew."""
    return JobSearch(store, order())._search.table.records[trial].history


def test_what_is_reported_and_how_it_ended_is_recorded_and_slots_are_filled(store: FileStore) -> None:
    search, told = begun(store, budget=2)
    [due] = told.starts
    size = reported(due.attempt, 2)
    told = search.advance(after(told, news=(TrialNews(**due.attempt.key._asdict(), reports=size),)))
    assert history_of(store) == [(1, {"accuracy": 1.0}), (2, {"accuracy": 2.0})]
    end = Completed(at=0, metrics={"accuracy": 3.0}, **due.attempt.key._asdict())
    news = TrialNews(**due.attempt.key._asdict(), reports=size, end=end)
    told = search.advance(after(told, spec_of(budget=2), news=(news,), free=1))
    assert [one.attempt.trial for one in told.starts] == [1]
    assert (told.progress.counts.completed, told.progress.counts.running) == (1, 1)


def test_news_of_what_does_not_run_change_nothing(store: FileStore) -> None:
    search, told = begun(store)
    stale = TrialNews(trial=0, segment=0, attempt=7, end=Stopped(at=0, trial=0, segment=0, attempt=7))
    unheard = TrialNews(trial=9, segment=0, attempt=1, end=Stopped(at=0, trial=9))
    told = search.advance(after(told, news=(stale, unheard)))
    assert (told.progress.counts.running, told.progress.counts.stopped) == (1, 0)


def test_an_order_that_is_given_twice_is_answered_with_the_same_starts(store: FileStore) -> None:
    search = JobSearch(store, order())
    opened = search.advance(order())
    first = search.advance(after(opened, free=1))
    again = search.advance(after(opened, free=1))
    assert [due.attempt for due in again.starts] == [due.attempt for due in first.starts]
    assert again.progress.counts.started == 1


def test_another_search_goes_on_where_the_first_one_was(store: FileStore) -> None:
    search, told = begun(store, executor={"type": "local", "max_parallel": 2}, budget=3)
    spec = spec_of(executor={"type": "local", "max_parallel": 2}, budget=3)
    first, _ = told.starts
    end = Failed(at=0, failure=Failure(kind="user", message="no luck"), **first.attempt.key._asdict())
    news = (TrialNews(**first.attempt.key._asdict(), end=end),)
    other = JobSearch(store, order(spec))
    told = other.advance(after(told, spec, news=news, free=1))
    assert [due.attempt.trial for due in told.starts] == [2]
    assert other._search.table.epoch == 1
    told = search.advance(after(told, spec))
    assert (told.progress.counts.failed, told.progress.counts.running) == (1, 2)


def test_a_name_is_in_use_for_another_workflow_that_does_not_resume(store: FileStore) -> None:
    begun(store)
    with pytest.raises(NameInUse):
        JobSearch(store, order(chain="second")).advance(order(chain="second"))
    told = JobSearch(store, order(chain="second")).advance(order(chain="second", resume=True))
    assert told.epoch == 2
    assert [due.attempt.trial for due in told.starts] == [0], "what runs is adopted"


def test_what_was_to_be_stopped_is_still_to_be_stopped_when_the_sweep_is_resumed(store: FileStore) -> None:
    search, told = begun(store)
    [due] = told.starts
    told = search.advance(after(told, control=Control(run="first", version=1, stop=True)))
    assert told.stops == (due.attempt.key,)
    told = JobSearch(store, order(chain="second")).advance(order(chain="second", resume=True))
    [again] = told.starts
    assert again.attempt.key == due.attempt.key
    assert again.is_unwanted


def test_what_has_stopped_and_was_not_to_is_tried_again(store: FileStore) -> None:
    search, told = begun(store, retry={"initial": 0.1})
    [due] = told.starts
    key = due.attempt.key._asdict()
    told = search.advance(after(told, news=(TrialNews(**key, end=Stopped(at=0, **key)),)))
    [again] = told.starts
    assert (again.attempt.trial, again.attempt.attempt) == (0, 2)


def test_an_order_whose_commit_failed_records_everything_when_it_is_given_again(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    search, told = begun(store)
    [due] = told.starts
    size = reported(due.attempt, 3)
    given = after(told, news=(TrialNews(**due.attempt.key._asdict(), reports=size),))

    def fail(self: FileLedger, chunk: Chunk) -> None:
        raise StoreError("no room")

    with monkeypatch.context() as patched:
        patched.setattr(FileLedger, "commit", fail)
        with pytest.raises(StoreError):
            search.advance(given)
    search.advance(given)
    assert [step for step, _ in history_of(store)] == [1, 2, 3]


def test_closing_waits_for_an_order_that_is_carried_out(
    store: FileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = JobSearch(store, order())
    told = search.advance(order())
    is_inside, may_go = Event(), Event()
    append = FileLog._append

    def slow(self: FileLog[Any], file: int, line: bytes) -> None:
        is_inside.set()
        may_go.wait(PATIENCE_S)
        append(self, file, line)

    monkeypatch.setattr(FileLog, "_append", slow)
    answers: list[Advance] = []
    advancing = Thread(target=lambda: answers.append(search.advance(after(told, free=1))))
    closing = Thread(target=search.close)
    advancing.start()
    assert is_inside.wait(PATIENCE_S)
    closing.start()
    closing.join(0.3)
    foreign = os.open(tmp_path / "foreign", os.O_RDWR | os.O_CREAT | os.O_APPEND)  # may get a closed number
    try:
        may_go.set()
        advancing.join(PATIENCE_S)
        closing.join(PATIENCE_S)
        assert os.fstat(foreign).st_size == 0
    finally:
        os.close(foreign)
    assert [due.attempt.trial for due in answers[0].starts] == [0]
    assert len(JobSearch(store, order())._search.table.records) == 1


async def test_whichever_worker_goes_on_the_definition_of_the_last_start_holds(store: FileStore) -> None:
    old, new = (
        spec_of(executor={"type": "local", "max_parallel": slots}, retry={"max_attempts": slots})
        for slots in (1, 9)
    )
    environment = ActivityEnvironment()
    one, other = SearchAdvances(store), SearchAdvances(store)
    try:
        told: Advance = await environment.run(one.advance_search, order(old))
        assert told.slots == 1
        told = await environment.run(other.advance_search, order(new, "second", resume=True))
        assert (told.epoch, told.slots) == (2, 9)
        told = await environment.run(one.advance_search, after(told, new, "second", free=9))
        assert (told.slots, len(told.starts)) == (9, 9)
        failure = Failure(kind="user", message="no luck")
        key = told.starts[0].attempt.key._asdict()
        news = (TrialNews(**key, end=Failed(at=0, failure=failure, **key)),)
        told = await environment.run(one.advance_search, after(told, new, "second", news=news))
        assert told.starts[0].attempt.attempt == 2, "it may be tried nine times by now"
    finally:
        one.close()
        other.close()


def test_an_answer_that_has_no_room_for_all_starts_tells_which_ones_follow(store: FileStore) -> None:
    spec = spec_of(
        executor={"type": "local", "max_parallel": 100},
        search_space={"prompt": {"type": "constant", "value": "a" * 9000}},
    )
    search = JobSearch(store, order(spec))
    told = search.advance(order(spec))
    told = search.advance(after(told, spec, free=100))
    handed = [due.attempt.trial for due in told.starts]
    while told.more:
        assert len(told.model_dump_json()) < 1_000_000
        told = search.advance(after(told, spec, more=told.more))
        handed += [due.attempt.trial for due in told.starts]
    assert sorted(handed) == list(range(100))
