"""Stories: trial tables told event by event."""

from typing import Any

from metta.sweep.contracts.budgets import Budget, Control
from metta.sweep.contracts.decisions import Decision, Start
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
from metta.sweep.contracts.failures import Failure, FailureKind
from metta.sweep.contracts.sweeps import SweepSpec
from metta.sweep.stores.trials import TrialTable

SPACE = {"x": {"type": "uniform", "low": 0, "high": 1}}


def spec(**definition: Any) -> SweepSpec:
    """A definition that says what a test is about, and no more."""
    return SweepSpec.model_validate({"objective": "module:function", "search_space": SPACE, **definition})


class Story:
    """A trial table, and what happens to it; one second passes from event to event.

    Each event is applied when it is news, and the answer says whether it was.

    Args:
        **definition: Fields of the sweep's definition.
    """

    def __init__(self, **definition: Any) -> None:
        self.table = TrialTable()
        self.now = 1000.0
        self.tell(Created(at=self.now, spec=spec(**definition)))
        self.open()

    def tell(self, event: Event) -> bool:
        news = self.table.is_news(event)
        if news:
            self.table.apply(event)
        return news

    def open(self, version: int = 0, run: str = "run", **limits: Any) -> bool:
        control = Control(run=run, version=version, budget=Budget(**limits))
        return self.tell(Opened(at=self.later(), epoch=self.table.epoch + 1, control=control))

    def control(self, version: int, run: str = "run", **limits: Any) -> bool:
        control = Control(run=run, version=version, budget=Budget(**limits))
        return self.tell(ControlChanged(at=self.later(), control=control))

    def define(self, **definition: Any) -> bool:
        return self.tell(Created(at=self.later(), spec=spec(**definition)))

    def tick(self) -> bool:
        return self.tell(Tick(at=self.later()))

    def start(self, count: int = 1, **fields: Any) -> None:
        for _ in range(count):
            number = len(self.table.records)
            self.decide(Start(trial=number, params={"x": number / 8}, seed=number, **fields))

    def decide(self, decision: Decision) -> None:
        self.table.carry(decision)

    def report(self, trial: int, step: int, seq: int | None = None, **metrics: float) -> bool:
        record = self.table.records[trial]
        seq = record.seq + 1 if seq is None else seq
        return self.tell(Reported(**self.of(trial), seq=seq, step=step, metrics=metrics))

    def complete(self, trial: int, **metrics: float) -> bool:
        return self.tell(Completed(**self.of(trial), seconds=2.0, metrics=metrics or None))

    def fail(self, trial: int, kind: FailureKind = "user", message: str = "boom") -> bool:
        return self.tell(Failed(**self.of(trial), seconds=2.0, failure=Failure(kind=kind, message=message)))

    def pause(self, trial: int, step: int = 1, checkpoint: str | None = None) -> bool:
        return self.tell(SegmentEnded(**self.of(trial), seconds=2.0, step=step, checkpoint=checkpoint))

    def end(self, trial: int) -> bool:
        return self.tell(Stopped(**self.of(trial), seconds=2.0))

    def of(self, trial: int) -> dict[str, Any]:
        """When, and which attempt: the one under way."""
        key = self.table.records[trial].key
        return {"at": self.later(), **key._asdict()}

    def later(self, seconds: float = 1.0) -> float:
        self.now += seconds
        return self.now


def ranking(table: TrialTable, limit: int | None = None) -> list[tuple[int, float]]:
    """Number and value of the best trials."""
    return [(row.trial, row.value) for row in table.leaderboard(limit)]
