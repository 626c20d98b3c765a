"""Lives of schedulers: sweeps whose trials do what a seed says, folded like real ones."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, TypeAlias

from metta.sweep.contracts.budgets import Control
from metta.sweep.contracts.decisions import Decision, Finish, Interrupt, Resume, Retry, Start, Stop
from metta.sweep.contracts.events import (
    Completed,
    Created,
    Event,
    Failed,
    Opened,
    Reported,
    SegmentEnded,
    Stopped,
    TrialEvent,
)
from metta.sweep.contracts.failures import Failure
from metta.sweep.contracts.records import TrialRecord
from metta.sweep.contracts.sweeps import SweepSpec
from metta.sweep.schedulers.base import New, Scheduler, SlotFree, Verdict
from metta.sweep.stores.trials import TrialTable

SPEC = SweepSpec.model_validate(
    {"objective": "a:b", "search_space": {"x": {"type": "uniform", "low": 0, "high": 1}}, "metric": "loss"}
)
STEPS = 9
"""A trial that nobody interrupts ends after so many steps."""

Decide: TypeAlias = Callable[[Event | SlotFree], Sequence[Verdict]]


class Life:
    """A sweep in which ``decide`` is asked as a search asks it.

    Args:
        decide: What is asked.
        slots: Trials that can run at the same time; others wait.
        trials: Trials that the budget allows.
        seed: Seed of what trials do, and of the order in which they do it.
    """

    def __init__(self, decide: Decide, slots: int = 3, trials: int = 20, seed: int = 0) -> None:
        self.table = TrialTable()
        self.recorded: list[Event | Decision] = []
        self._decide = decide
        self._slots = slots
        self._trials = trials
        self._random = Random(seed)

    def live(self) -> None:
        """From the beginning until nothing runs any more."""
        self.tell(Created(at=0, spec=SPEC))
        self.tell(Opened(at=0, epoch=1, control=Control()))
        self.fill()
        while occupied := sorted(self.table.running)[: self._slots]:
            self.tell(self._next_of(self.table.records[self._random.choice(occupied)]))
            self.fill()

    def tell(self, event: Event) -> None:
        """Record an event, and carry out what is decided on it."""
        self.recorded.append(event)
        self.table.apply(event)
        self._carry(self._decide(event))

    def fill(self) -> None:
        """Offer the free slots."""
        if (free := self._slots - len(self.table.running)) > 0:
            self._carry(self._decide(SlotFree(free)))

    def _carry(self, verdicts: Sequence[Verdict]) -> None:
        for verdict in verdicts:
            match verdict:
                case New(until_step=until_step) if (number := len(self.table.records)) < self._trials:
                    self._record(Start(trial=number, params={"x": 0.5}, seed=0, until_step=until_step))
                case Resume() | Stop():
                    self._record(verdict)
                case New():
                    pass  # the budget is used up

    def _record(self, decision: Decision) -> None:
        self.recorded.append(decision)
        self.table.carry(decision)

    def _next_of(self, record: TrialRecord) -> TrialEvent:
        attempt: dict[str, Any] = {
            "trial": record.number,
            "segment": record.segment,
            "attempt": record.attempt,
        }
        step = record.step or 0
        if record.stopping:
            return Stopped(at=0, **attempt)
        if record.until_step is not None and step >= record.until_step:
            return SegmentEnded(at=0, step=step, **attempt)
        if self._random.random() < 0.05:
            return Failed(at=0, failure=Failure(kind="user", message="bad luck"), **attempt)
        if step >= STEPS:
            return Completed(at=0, **attempt)
        metrics = {"loss": self._random.random()}
        return Reported(at=0, seq=record.seq + 1, step=step + 1, metrics=metrics, **attempt)


def reborn(scheduler: Scheduler, recorded: Sequence[Event | Decision]) -> TrialTable:
    """Bring a new object to where another one was, from what is recorded alone."""
    table = TrialTable()
    for entry in recorded:
        if isinstance(entry, Start | Resume | Stop | Interrupt | Retry | Finish):
            table.carry(entry)
        else:
            table.apply(entry)
            scheduler.decide(entry, table)
    return table
