"""A sweep by hand, one slot at a time, to see what a scheduler makes of it."""

from metta.sweep.contracts.budgets import Control
from metta.sweep.contracts.decisions import Resume, Start, Stop
from metta.sweep.contracts.distributions import Uniform
from metta.sweep.contracts.events import Completed, Created, Event, Failed, Opened, Reported, SegmentEnded
from metta.sweep.contracts.failures import Failure
from metta.sweep.contracts.spaces import SearchSpace
from metta.sweep.contracts.sweeps import SweepSpec
from metta.sweep.schedulers.base import New, Scheduler, SlotFree, Verdict
from metta.sweep.stores.trials import TrialTable

SPEC = SweepSpec(objective="a:b", search_space=SearchSpace({"x": Uniform(0, 1)}), metric="loss")


class Ladder:
    """Events are told to the scheduler as a search tells them, and its verdicts carried out."""

    def __init__(self, scheduler: Scheduler, spec: SweepSpec = SPEC) -> None:
        self.scheduler = scheduler
        self.table = TrialTable()
        self.events: list[Event] = []
        self.scheduler.setup(spec.search_space, 7)
        self.tell(Created(at=0, spec=spec))
        self.tell(Opened(at=0, epoch=1, control=Control()))

    def tell(self, event: Event) -> list[Verdict]:
        self.table.apply(event)
        self.events.append(event)
        verdicts = self.scheduler.decide(event, self.table)
        for verdict in verdicts:
            if isinstance(verdict, Stop):
                self.table.carry(verdict)
        return verdicts

    def slot(self) -> Verdict:
        """What a free slot is used for."""
        [verdict] = self.scheduler.decide(SlotFree(1), self.table)
        match verdict:
            case New():
                number = len(self.table.records)
                self.table.carry(
                    Start(trial=number, params={}, seed=0, until_step=verdict.until_step, last=verdict.last)
                )
            case Resume() | Stop():
                self.table.carry(verdict)
        return verdict

    def report(self, trial: int, step: int, loss: float) -> list[Verdict]:
        record = self.table.records[trial]
        return self.tell(
            Reported(
                at=0,
                trial=trial,
                segment=record.segment,
                attempt=record.attempt,
                seq=record.seq + 1,
                step=step,
                metrics={"loss": loss},
            )
        )

    def reach(self, trial: int, loss: float, step: int | None = None) -> None:
        """A trial comes to the end of its segment, or to a step beyond it."""
        record = self.table.records[trial]
        step = step or record.until_step or 0
        self.report(trial, step, loss)
        self.tell(SegmentEnded(at=0, trial=trial, segment=record.segment, attempt=record.attempt, step=step))

    def complete(self, trial: int) -> None:
        self.tell(Completed(at=0, trial=trial, segment=self.table.records[trial].segment))

    def fail(self, trial: int) -> None:
        failure = Failure(kind="user", message="no")
        self.tell(Failed(at=0, trial=trial, segment=self.table.records[trial].segment, failure=failure))
