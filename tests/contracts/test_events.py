"""Events: what makes two of them the same fact."""

import json

import pytest

from metta.sweep.contracts.budgets import Budget, Control
from metta.sweep.contracts.events import (
    Completed,
    ControlChanged,
    Created,
    Event,
    Failed,
    Opened,
    Reported,
    SegmentEnded,
    Stopped,
    Tick,
)
from metta.sweep.contracts.failures import Failure
from metta.sweep.contracts.sweeps import SweepSpec

SPEC = SweepSpec.model_validate({"objective": "a:b", "search_space": {"x": {"type": "constant", "value": 1}}})
FAILURE = Failure(kind="user", message="no")


@pytest.mark.parametrize(
    ("event", "same"),
    [
        (
            Reported(at=1, trial=3, seq=2, step=5, metrics={}),
            Reported(at=2, trial=3, seq=2, step=6, metrics={}),
        ),
        (Opened(at=1, epoch=2, control=Control()), Opened(at=2, epoch=2, control=Control(stop=True))),
        (Created(at=1, spec=SPEC), Created(at=2, spec=SPEC)),
        (
            ControlChanged(at=1, control=Control(run="r", version=2)),
            ControlChanged(at=2, control=Control(run="r", version=2, budget=Budget(trials=3))),
        ),
    ],
)
def test_a_fact_is_the_same_whenever_it_is_told(event: Event, same: Event) -> None:
    assert event.id == same.id


def test_an_attempt_ends_once_whatever_ends_it() -> None:
    ends = [
        Completed(at=1, trial=3, segment=1, attempt=2),
        Failed(at=2, trial=3, segment=1, attempt=2, failure=FAILURE),
        Stopped(at=3, trial=3, segment=1, attempt=2),
        SegmentEnded(at=4, trial=3, segment=1, attempt=2, step=9),
    ]
    assert {end.id for end in ends} == {(3, 1, 2, "end")}


def test_different_facts_have_different_ids() -> None:
    events: list[Event] = [
        Created(at=1, spec=SPEC),
        Tick(at=1),
        Tick(at=2),
        *(Opened(at=1, epoch=epoch, control=Control()) for epoch in (1, 2)),
        *(
            ControlChanged(at=1, control=Control(run=run, version=version))
            for run in ("a", "b")
            for version in (1, 2)
        ),
        *(
            event
            for trial in (1, 2)
            for segment in (0, 1)
            for attempt in (1, 2)
            for event in (
                Reported(at=1, trial=trial, segment=segment, attempt=attempt, seq=0, step=1, metrics={}),
                Reported(at=1, trial=trial, segment=segment, attempt=attempt, seq=1, step=2, metrics={}),
                Stopped(at=1, trial=trial, segment=segment, attempt=attempt),
            )
        ),
    ]
    assert len({event.id for event in events}) == len(events)


def test_an_id_is_plain_json() -> None:
    event = Reported(at=1, trial=3, seq=2, step=5, metrics={})
    assert json.loads(json.dumps(event.id)) == [3, 0, 1, 2]
