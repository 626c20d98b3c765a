"""What is known of an experiment, and what is forgotten of it and stays in its log all the same."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from metta.sweep.contracts.outcomes import (
    AttemptFailed,
    Began,
    Decided,
    Entry,
    Merged,
    StageEnded,
)
from metta.sweep.contracts.plans import At, Outcome, StageFailure
from metta.sweep.contracts.values import Value
from metta.sweep.stores.outcomes import FileOutcomeLog, Outcomes

LOG = "outcomes.jsonl"


def began(run: str, **forgotten: tuple[int, ...]) -> Began:
    return Began(recorded=1.0, run=run, experiment="m:f", fingerprint="f", forgotten=forgotten)


def ended(path: str, *turns: int, gave: int = 0) -> StageEnded:
    at = At(path, turns)
    return StageEnded(recorded=2.0, at=at, outcome=Outcome(stage=str(at)), value=Value(packed=gave))


ENTRIES: list[Entry] = [
    began("first"),
    ended("load"),
    *(Decided(recorded=2.0, at=At("loop", (turn,)), answer=True) for turn in range(4)),
    *(ended("train", turn) for turn in range(4)),
    Merged(recorded=2.0, at=At("merge"), value=Value(packed=1)),
    AttemptFailed(
        recorded=2.0, at=At("end"), failure=StageFailure(stage="end", kind="user", message="no", attempts=1)
    ),
]


@pytest.fixture
def log(tmp_path: Path) -> FileOutcomeLog:
    return FileOutcomeLog(tmp_path / LOG)


@pytest.fixture
def outcomes(log: FileOutcomeLog) -> Iterator[Outcomes]:
    made = Outcomes(log)
    for entry in ENTRIES:
        made.add(entry)
    yield made
    made.close()


def reread(folder: Path) -> Outcomes:
    made = Outcomes(FileOutcomeLog(folder / LOG))
    made.refresh()
    return made


def test_from_a_turn_on_a_beginning_forgets_and_the_log_keeps_all(
    outcomes: Outcomes, log: FileOutcomeLog, tmp_path: Path
) -> None:
    outcomes.add(began("second", train=(2,), loop=(3,), merge=()))
    for known in (outcomes, reread(tmp_path)):
        assert known.runs_of("train") == [At("train", (0,)), At("train", (1,))]
        assert known.counts == {"done": 3}
        assert isinstance(known.of(At("loop", (2,))), Decided)
        assert [known.of(at) for at in (At("loop", (3,)), At("merge"), At("train", (3,)))] == [None] * 3
        assert known.failure(At("end")) is None
        assert known.times_forgotten(At("train", (2,))) == 1
        assert known.times_forgotten(At("train", (1,))) == 0
        assert known.has_begun("first")
        assert known.has_begun("second")
        assert not known.has_begun("third")
    assert list(log.entries())[:-1] == ENTRIES


def test_what_was_forgotten_is_recorded_anew(outcomes: Outcomes, tmp_path: Path) -> None:
    outcomes.add(began("second", train=(3,)))
    outcomes.add(ended("train", 3, gave=7))
    outcomes.add(ended("train", 3, gave=8))  # of two that say what it gave, the first one holds
    for known in (outcomes, reread(tmp_path)):
        found = known.of(At("train", (3,)))
        assert isinstance(found, StageEnded)
        assert found.value.packed == 7
        assert known.counts == {"done": 5}


def test_another_owner_forgets_all(outcomes: Outcomes) -> None:
    outcomes.add(began("second", train=()))
    assert outcomes.times_forgotten(At("load")) == 0
    outcomes.add(began("third").model_copy(update={"anew": True}))
    assert outcomes.counts.total() == 0
    assert outcomes.of(At("load")) is None
    assert outcomes.times_forgotten(At("load")) == 1
    assert outcomes.times_forgotten(At("train", (0,))) == 2
