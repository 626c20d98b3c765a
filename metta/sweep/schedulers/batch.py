"""The synchronous batch scheduler: ask for a batch, wait for all of it, ask for the next."""

from metta.sweep.contracts.components import count_problems
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.events import Event
from metta.sweep.schedulers.base import New, Scheduler, SlotFree, Verdict, View


class SynchronousBatchScheduler(Scheduler):
    """Starts trials in batches, so that an optimizer sees all results of one before the next.

    Args:
        batch_size: Trials in a batch.
        max_parallel: Trials that may run at the same time; the others of the batch wait.
        min_results: So many trials of a batch have to be over before the next one starts; None
            waits for all. With fewer, stragglers do not hold up the sweep, not even for ever.
    """

    def __init__(
        self, batch_size: int = 10, max_parallel: int | None = None, min_results: int | None = None
    ) -> None:
        problems = count_problems(batch_size=batch_size, max_parallel=max_parallel, min_results=min_results)
        if not problems and min_results is not None and min_results > batch_size:
            problems.append(f"min_results is {min_results}, more than batch_size, which is {batch_size}")
        if problems:
            raise DefinitionError(problems, type(self).__name__)
        super().__init__(max_parallel)
        self.batch_size = batch_size
        self.min_results = min_results or batch_size

    def decide(self, event: Event | SlotFree, view: View) -> list[Verdict]:
        """Start a batch when enough of the one before is over."""
        if not isinstance(event, SlotFree):
            return super().decide(event, view)
        last_batch = view.records[-self.batch_size :]
        stragglers = sum(record.running for record in last_batch)
        return [New()] * self.batch_size if stragglers <= self.batch_size - self.min_results else []


BatchScheduler = SynchronousBatchScheduler
"""The same under its short name."""
