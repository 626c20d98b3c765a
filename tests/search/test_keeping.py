"""Keeping: no event is recorded before its checkpoint is kept, and each trial's events keep their order."""

import logging
from collections.abc import Iterator
from pathlib import Path
from threading import Event as Flag
from time import monotonic, sleep

import pytest

from metta.sweep.contracts.errors import StoreAway, StoreError, StoreFull
from metta.sweep.contracts.events import Completed, Reported, TrialEvent
from metta.sweep.search import keeping
from metta.sweep.search.keeping import Keeping
from metta.sweep.stores.workplaces import FileWorkplace

PATIENCE_S = 10.0


class SlowWorkplace(FileWorkplace):
    """Keeps nothing before it is told to, and refuses as often as it is told to."""

    is_shared = False

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.gates: dict[str, Flag] = {}
        self.refusals: list[StoreError] = []
        self.kept: list[str] = []

    def keep(self, name: str) -> None:
        if self.refusals:
            raise self.refusals.pop(0)
        if gate := self.gates.get(Path(name).name):
            assert gate.wait(PATIENCE_S)
        self.kept.append(name)


@pytest.fixture
def workplace(tmp_path: Path) -> SlowWorkplace:
    return SlowWorkplace(tmp_path)


@pytest.fixture
def woken() -> Flag:
    return Flag()


@pytest.fixture
def holding(workplace: SlowWorkplace, woken: Flag, monkeypatch: pytest.MonkeyPatch) -> Iterator[Keeping]:
    monkeypatch.setattr(keeping, "AGAIN_S", 0.01)
    made = Keeping(workplace, woken.set)
    yield made
    made.close()


def report(workplace: SlowWorkplace, trial: int, step: int, name: str | None) -> Reported:
    checkpoint = name and str(workplace.path / f"trials/{trial}/seg-0/try-1/checkpoints/{name}")
    return Reported(
        at=0.0,
        trial=trial,
        segment=0,
        attempt=1,
        seq=step,
        step=step,
        metrics={},
        checkpoint=checkpoint,
    )


def end(trial: int) -> Completed:
    return Completed(at=0.0, trial=trial, segment=0, attempt=1)


def steps(events: list[TrialEvent]) -> list[tuple[int, int | None]]:
    return [(event.trial, event.step if isinstance(event, Reported) else None) for event in events]


def until(holding: Keeping, count: int, *told: TrialEvent) -> list[TrialEvent]:
    """What comes out by and by."""
    found = holding.kept(told)
    deadline = monotonic() + PATIENCE_S
    while len(found) < count:
        assert monotonic() < deadline
        found += holding.kept([])
        sleep(0.005)
    return found


def test_what_has_no_checkpoint_passes_at_once(workplace: SlowWorkplace, holding: Keeping) -> None:
    assert steps(holding.kept([report(workplace, 0, 1, None), end(0)])) == [(0, 1), (0, None)]


def test_a_report_waits_for_its_checkpoint_and_what_follows_waits_for_the_report(
    workplace: SlowWorkplace, holding: Keeping, woken: Flag
) -> None:
    gate = workplace.gates["slow"] = Flag()
    told: list[TrialEvent] = [report(workplace, 0, 1, "slow"), end(0), report(workplace, 1, 1, None)]
    assert steps(holding.kept(told)) == [(1, 1)]
    assert holding.ends == 1
    assert not woken.is_set()
    gate.set()
    assert woken.wait(PATIENCE_S)
    found = until(holding, 2)
    assert steps(found) == [(0, 1), (0, None)]
    assert holding.ends == 0
    assert isinstance(found[0], Reported)
    assert found[0].checkpoint == workplace.kept[0] == "trials/0/seg-0/try-1/checkpoints/slow"


@pytest.mark.parametrize("kind", [StoreAway, StoreFull])
def test_a_store_that_is_away_or_full_is_waited_for(
    workplace: SlowWorkplace, holding: Keeping, kind: type[StoreError]
) -> None:
    workplace.refusals = [kind("not now"), kind("not now")]
    assert steps(until(holding, 1, report(workplace, 0, 1, "a"))) == [(0, 1)]
    assert len(workplace.kept) == 1
    assert holding.note == ""


def test_while_it_waits_it_says_why(workplace: SlowWorkplace, holding: Keeping) -> None:
    workplace.refusals = [StoreAway("the bucket sleeps")] * 1000
    holding.kept([report(workplace, 0, 1, "a")])
    deadline = monotonic() + PATIENCE_S
    while not holding.note:
        assert monotonic() < deadline
    assert holding.note == "the bucket sleeps"


def test_a_checkpoint_that_cannot_be_kept_is_told_and_holds_nothing_up(
    workplace: SlowWorkplace, holding: Keeping, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    workplace.refusals = [StoreError("it is missing")]
    [event] = until(holding, 1, report(workplace, 4, 1, "gone"))
    assert isinstance(event, Reported)
    assert event.checkpoint is None, "the one before it would not be needed any more"
    assert "a checkpoint of trial 4 is not kept: it is missing" in caplog.text


def test_what_lies_elsewhere_is_not_copied(
    workplace: SlowWorkplace, holding: Keeping, tmp_path: Path
) -> None:
    mine = str(tmp_path.parent / "mine.bin")
    [event] = until(holding, 1, report(workplace, 0, 1, None).model_copy(update={"checkpoint": mine}))
    assert isinstance(event, Reported)
    assert (event.checkpoint, workplace.kept) == (mine, [])
