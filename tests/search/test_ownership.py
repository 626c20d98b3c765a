"""One ledger and many sessions: after one another, at the same time, and with what goes wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.client.results import table_of
from metta.sweep.contracts.budgets import Budget, Control
from metta.sweep.contracts.chunks import Chunk
from metta.sweep.contracts.decisions import Start
from metta.sweep.contracts.errors import (
    DefinitionChanged,
    DefinitionError,
    LedgerFenced,
    StoreError,
    StoreFull,
)
from metta.sweep.contracts.events import Event, Opened, Reported
from metta.sweep.stores.ledgers import FileLedger
from tests.search.by_hand import ByHand, Made, finish
from tests.search.components import Climber, component

# --- sessions, one after the other and at the same time ---


def test_the_next_session_goes_on_with_what_ran_and_repeats_nothing(opened: Made, path: Path) -> None:
    hand = opened(slots=2, limits={"trials": 4}, seed=1)
    hand.tell()
    hand.tell(hand.complete(0))
    hand.tell(hand.report(2, step=5, checkpoint="trials/2/c5"))
    later = ByHand(path, slots=2, writer="another", seed=1)
    assert later.open(trials=4) == ["retry 1 try 2", "retry 2 try 2"]
    assert later.params == hand.params
    resumed = later.search.table.records[2]
    assert (resumed.checkpoint, resumed.step, resumed.seed) == (
        "trials/2/c5",
        5,
        hand.search.table.records[2].seed,
    )
    assert later.tell() == []
    assert later.tell(later.complete(1), later.complete(2)) == ["start 3"]
    assert later.tell(later.complete(3)) == ["finish budget"]
    assert [chunk.epoch for chunk in later.chunks] == [1, 1, 1, 1, 2, 2, 2]


def test_a_trial_that_was_being_stopped_ended_with_its_session(opened: Made, path: Path) -> None:
    hand = opened(slots=2, limits={"trials": 3})
    hand.tell()
    hand.tell(hand.report(0, step=1, acc=0.75), hand.control(1, trials=3, stop=True))
    later = ByHand(path, slots=2)
    assert later.open(Control(run="resumed", budget=Budget(trials=3))) == []
    assert [record.status for record in later.search.table.records] == ["stopped", "stopped"]
    assert later.tell() == ["start 2"]


def test_an_end_that_is_recorded_is_not_decided_again(opened: Made, path: Path) -> None:
    hand = opened(slots=1, limits={"trials": 1})
    hand.tell()
    hand.tell(hand.control(1, trials=1))
    hand.tell(hand.complete(0))
    later = ByHand(path)
    assert later.open(trials=99) == []  # its activity was scheduled before the budget was lowered
    assert finish(later).reason == "budget"
    assert later.tell() == []


def test_a_session_that_was_replaced_is_fenced_off(opened: Made, path: Path) -> None:
    older = opened(slots=1)
    older.tell()
    newer = ByHand(path, writer="newer")
    newer.open()
    before = path.read_bytes()
    for _ in range(2):
        with pytest.raises(LedgerFenced, match="session 1 was replaced by session 2"):
            older.tell(older.complete(0))
    assert path.read_bytes() == before
    assert newer.tell(newer.complete(0)) == ["start 1", "start 2"]
    with pytest.raises(LedgerFenced):
        older.tell()


def test_of_two_sessions_that_open_at_the_same_time_both_do_and_the_later_one_owns_it(path: Path) -> None:
    first, second = ByHand(path, writer="first"), ByHand(path, writer="second")
    first.open()
    second.open()  # it has not seen the chunk of the first one
    assert [
        event.epoch for chunk in second.chunks for event in chunk.events if isinstance(event, Opened)
    ] == [1, 2]
    assert second.tell() == ["start 0", "start 1"]
    with pytest.raises(LedgerFenced):
        first.tell(first.tick())


def test_all_decisions_after_the_cursor_are_told(opened: Made) -> None:
    hand = opened(slots=1)
    hand.tell()
    cursors = [hand.cursor]
    for trial in range(3):
        hand.tell(hand.complete(trial))
        cursors.append(hand.cursor)
    before = len(hand.chunks)
    for back, cursor in enumerate(reversed(cursors)):
        answer = hand.search.advance(cursor, [hand.complete(0)])
        assert [d.trial for d in answer.decisions if isinstance(d, Start)] == list(range(4 - back, 4))
        assert answer.cursor == hand.cursor
    assert len(hand.chunks) == before


class LosesReplies(FileLedger):
    """Writes, and then says that it could not."""

    loses = False

    def commit(self, chunk: Chunk) -> None:
        super().commit(chunk)
        if self.loses:
            self.loses = False
            raise StoreError("the connection was lost")


def test_a_lost_reply_changes_nothing(path: Path) -> None:
    ledger = LosesReplies(path)
    hand = ByHand(ledger, slots=1)
    hand.open()
    hand.tell()
    event = hand.complete(0)
    ledger.loses = True
    with pytest.raises(StoreError):
        hand.tell(event)
    assert hand.tell(event) == ["start 1"]
    assert len(hand.chunks) == 3


class Full(FileLedger):
    """Has no room for so many chunks."""

    refusals = 0

    def commit(self, chunk: Chunk) -> None:
        if self.refusals:
            self.refusals -= 1
            raise StoreFull("no room")
        super().commit(chunk)


@pytest.mark.parametrize("optimizer", ["random", component(Climber)])
def test_what_could_not_be_recorded_was_not_decided(path: Path, tmp_path: Path, optimizer: Any) -> None:
    ledger = Full(path)
    hand = ByHand(ledger, slots=2, optimizer=optimizer)
    smooth = ByHand(tmp_path / "smooth", slots=2, optimizer=optimizer)

    def told(act: Callable[[ByHand], list[str]]) -> None:
        ledger.refusals, hand.now = 2, smooth.now
        for _ in range(2):
            with pytest.raises(StoreFull):
                act(hand)
        hand.now = smooth.now
        assert act(hand) == act(smooth)

    told(lambda h: h.open(trials=4))
    told(lambda h: h.tell())
    events: list[Event] = [smooth.complete(0), smooth.report(1, step=1)]
    told(lambda h: h.tell(*events))
    assert hand.search.table.records == smooth.search.table.records


def test_a_damaged_ledger_is_told_and_left_alone(opened: Made, path: Path) -> None:
    hand = opened()
    hand.tell()
    damaged = path.read_bytes().replace(b'"trial":0', b'"trial":5')
    path.write_bytes(damaged)
    with pytest.raises(StoreError, match=r"line 2 .* is damaged"):
        ByHand(path)
    assert path.read_bytes() == damaged


# --- definitions ---


@pytest.mark.parametrize(
    ("change", "problem"),
    [({"seed": 2}, "seed was 1 and is now 2"), ({"metric": "loss"}, "metric was 'acc' and is now 'loss'")],
)
def test_another_definition_is_refused_before_anything_is_recorded(
    opened: Made, path: Path, change: dict[str, Any], problem: str
) -> None:
    opened(seed=1)
    before = path.read_bytes()
    with pytest.raises(DefinitionChanged) as error:
        ByHand(path, **{"seed": 1, **change}).open()
    assert problem in error.value.problems
    assert path.read_bytes() == before


def test_how_trials_are_run_may_change_from_session_to_session(opened: Made, path: Path) -> None:
    hand = opened(slots=1)
    hand.tell()
    later = ByHand(path, slots=1, retry={"max_attempts": 2, "initial": 0}, timeout=5)
    later.open()
    assert later.tell(later.fail(0)) == ["retry 0 try 3"]
    assert later.search.table.spec == later.spec
    assert sum(event.type == "created" for chunk in later.chunks for event in chunk.events) == 2


def test_wrong_components_are_told_at_once(path: Path) -> None:
    with pytest.raises(DefinitionError, match="unknown optimizer 'radnom'; did you mean random"):
        ByHand(path, optimizer="radnom")
    assert not path.exists()


def test_a_report_is_recorded_before_it_is_answered(opened: Made, path: Path) -> None:
    hand = opened()
    hand.tell()
    hand.tell(hand.report(0, step=1, acc=0.75))
    recorded = [event for chunk in FileLedger(path).read() for event in chunk.events]
    assert isinstance(recorded[-1], Reported)
    assert table_of(FileLedger(path)).records[0].metrics == {"acc": 0.75}
