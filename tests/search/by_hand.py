"""A search whose trials are run by hand: a test says what happens, and sees what is decided."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from metta.sweep.contracts.attempts import AttemptKey
from metta.sweep.contracts.budgets import Budget, Control
from metta.sweep.contracts.chunks import Chunk
from metta.sweep.contracts.decisions import Decision, Finish, Interrupt, Resume, Retry, Start, Stop
from metta.sweep.contracts.events import (
    AttemptEnded,
    Completed,
    ControlChanged,
    Event,
    Failed,
    Known,
    Reported,
    SegmentEnded,
    Stopped,
    Tick,
)
from metta.sweep.contracts.failures import Failure, FailureKind
from metta.sweep.contracts.sweeps import SweepSpec
from metta.sweep.search.search import Search
from metta.sweep.stores.base import Ledger
from metta.sweep.stores.ledgers import FileLedger
from tests.stores.stories import spec


class ByHand:
    """Hosts a search. One second passes with each event.

    Args:
        ledger: The ledger, or its path.
        slots: Trials that run at the same time.
        writer: Name of the session.
        prior: What it begins with, if it begins.
        **definition: Fields of the sweep's definition; ``metric`` is ``acc``, unless they say otherwise.
    """

    def __init__(
        self,
        ledger: Ledger | Path,
        slots: int = 2,
        writer: str = "session",
        prior: Sequence[Known] = (),
        **definition: Any,
    ) -> None:
        self.ledger = FileLedger(ledger) if isinstance(ledger, Path) else ledger
        self.slots = slots
        self.now = 1000.0
        self.spec: SweepSpec = spec(**{"metric": "acc", **definition})
        self.search = Search(self.ledger, self.spec, "sweep", writer, lambda: self.now, lambda: prior)
        self.cursor = self.search.head
        self.active: dict[int, AttemptKey] = {}

    def open(self, control: Control | None = None, **limits: Any) -> list[str]:
        """Take the sweep over."""
        control = control or Control(run="run", budget=Budget(**limits))
        self.active.clear()
        self.now += 1
        return self._noted(*self.search.open(control))

    def tell(self, *events: Event) -> list[str]:
        """What follows from events, with all slots that are free after them."""
        for event in events:
            if isinstance(event, AttemptEnded) and self.active.get(event.trial) == key_of(event):
                del self.active[event.trial]
        return self._noted(*self.search.advance(self.cursor, events, self.free))

    @property
    def free(self) -> int:
        return max(0, self.slots - len(self.active))

    def _noted(self, decisions: Sequence[Decision], cursor: int) -> list[str]:
        self.cursor = cursor
        for decision in decisions:
            if isinstance(decision, Start | Resume | Retry):
                self.active[decision.trial] = self.search.table.records[decision.trial].key
        return [said(decision) for decision in decisions]

    # --- what happens ---

    def report(self, trial: int, step: int, acc: float = 0.5, **fields: Any) -> Reported:
        seq = self.search.table.records[trial].seq + 1
        return Reported(**{**self.of(trial), "seq": seq, "step": step, "metrics": {"acc": acc}, **fields})

    def complete(self, trial: int, acc: float = 0.5, **fields: Any) -> Completed:
        return Completed(**{**self.of(trial), "metrics": {"acc": acc}, "seconds": 2.0, **fields})

    def fail(self, trial: int, kind: FailureKind = "user", message: str = "boom") -> Failed:
        return Failed(**self.of(trial), failure=Failure(kind=kind, message=message, traceback="line 1"))

    def pause(self, trial: int, step: int) -> SegmentEnded:
        return SegmentEnded(**self.of(trial), step=step, checkpoint=f"trials/{trial}/c{step}")

    def end(self, trial: int) -> Stopped:
        return Stopped(**self.of(trial))

    def tick(self, seconds: float = 1.0) -> Tick:
        return Tick(at=self._later(seconds))

    def control(self, version: int, **fields: Any) -> ControlChanged:
        """A change of what people want: limits of the budget, or fields of the control."""
        known = {name: fields.pop(name) for name in ("run", "stop", "pause") if name in fields}
        control = Control(version=version, budget=Budget(**fields), **{"run": "run", **known})
        return ControlChanged(at=self._later(), control=control)

    def of(self, trial: int) -> dict[str, Any]:
        """When, and which attempt: the last one."""
        return {"at": self._later(), **self.search.table.records[trial].key._asdict()}

    def _later(self, seconds: float = 1.0) -> float:
        self.now += seconds
        return self.now

    # --- what is recorded ---

    @property
    def chunks(self) -> list[Chunk]:
        return list(self.ledger.read())

    @property
    def params(self) -> list[dict[str, Any]]:
        return [record.params for record in self.search.table.records]


Made: TypeAlias = Callable[..., ByHand]


def finish(hand: ByHand) -> Finish:
    """How the sweep ended."""
    assert hand.search.table.finish
    return hand.search.table.finish


def key_of(event: Reported | AttemptEnded) -> AttemptKey:
    return AttemptKey(event.trial, event.segment, event.attempt)


def said(decision: Decision) -> str:
    """A decision in a few characters."""
    match decision:
        case Resume():
            return f"resume {decision.trial} seg {decision.segment}"
        case Retry():
            return f"retry {decision.trial} try {decision.attempt}"
        case Finish():
            return f"finish {decision.reason}"
        case Start() | Stop() | Interrupt():
            return f"{decision.type} {decision.trial}"
