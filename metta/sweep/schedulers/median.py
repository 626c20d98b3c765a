"""The median stopping rule.

References:
    Golovin et al., "Google Vizier: A Service for Black-Box Optimization", KDD 2017, section 3.2.2.

A trial is stopped at a step when the best it has reported so far is strictly worse than the median, over the
completed trials, of the mean of what each of them had reported up to that step. A trial that did not report
at exactly that step is compared at its last one before.
"""

from bisect import bisect_right
from itertools import accumulate
from statistics import median
from typing import ClassVar

from metta.sweep.contracts.components import count_problems
from metta.sweep.contracts.decisions import Stop
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.events import Completed, Event, Reported
from metta.sweep.schedulers.base import Scheduler, SlotFree, Verdict, View


class _Curve:
    """What a trial has reported: steps and losses."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.losses: list[float] = []
        self.means: list[float] = []

    def add(self, step: int, loss: float) -> None:
        """A report."""
        self.steps.append(step)
        self.losses.append(loss)

    def complete(self) -> None:
        """Its running averages."""
        sums = accumulate(self.losses)
        self.means = [total / count for count, total in enumerate(sums, 1)]

    def mean_until(self, step: int) -> float | None:
        """Its running average at its last report up to a step."""
        count = bisect_right(self.steps, step)
        return self.means[count - 1] if count else None


class MedianStoppingScheduler(Scheduler):
    """Stops trials that do worse than half of the completed ones did at the same step.

    Args:
        grace_period: Steps before the first decision.
        min_samples: So many completed trials have to be there for a comparison.
        max_parallel: Trials that may run at the same time; None leaves it to the executor.
    """

    needs_reports: ClassVar[bool] = True

    def __init__(self, grace_period: int = 1, min_samples: int = 5, max_parallel: int | None = None) -> None:
        super().__init__(max_parallel)
        if problems := count_problems(grace_period=grace_period, min_samples=min_samples):
            raise DefinitionError(problems, type(self).__name__)
        self.grace_period = grace_period
        self.min_samples = min_samples
        self._curves: dict[int, _Curve] = {}
        self._completed: list[_Curve] = []

    def decide(self, event: Event | SlotFree, view: View) -> list[Verdict]:
        """Compare a trial at each of its reports."""
        match event:
            case Reported(trial=number, step=step):
                loss = view.loss(view.records[number])
                if loss is None:  # it is still unknown which metric counts
                    return []
                curve = self._curves.setdefault(number, _Curve())
                curve.add(step, loss)
                return [Stop(trial=number)] if self._is_worse(curve, step) else []
            case Completed(trial=number) if number in self._curves:
                curve = self._curves.pop(number)
                curve.complete()
                self._completed.append(curve)
                return []
            case _:
                return super().decide(event, view)

    def _is_worse(self, curve: _Curve, step: int) -> bool:
        if step < self.grace_period:
            return False
        means = [mean for done in self._completed if (mean := done.mean_until(step)) is not None]
        return len(means) >= self.min_samples and min(curve.losses) > median(means)
