"""Asynchronous successive halving.

References:
    Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020 (arXiv 1810.05934);
    algorithm 2 is ``mode="promote"``.

Rungs are at ``grace_period * reduction_factor**k`` steps. A trial that has come to a rung pauses there; a
free slot promotes the best paused trial that is in the best ``1 / reduction_factor`` of its rung, highest
rung first, or starts a new trial where there is none. ``mode="stop"`` pauses nobody: a trial goes on when
its rank among the ``n`` that have come to the rung, itself included, is at most
``max(n // reduction_factor, 1)``, and is stopped otherwise.

Where we deviate from the paper: the last rung is at ``max_epochs`` also when that is no power of
``reduction_factor``; a report that jumps over rungs counts for each of them; a trial that fails counts as
the worst of the rung it was on the way to.
"""

from collections.abc import Iterator
from math import inf
from typing import ClassVar, Literal

from metta.sweep.contracts.components import count_problems
from metta.sweep.contracts.decisions import Resume, Stop
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.events import Event, Failed, Reported, SegmentEnded
from metta.sweep.contracts.records import TrialRecord
from metta.sweep.contracts.seeds import SEED_BITS, derived_seed
from metta.sweep.schedulers.base import New, Scheduler, SlotFree, Verdict, View
from metta.sweep.schedulers.rungs import Entry, Rung, levels


class _Bracket:
    """Successive halving from one first rung up."""

    def __init__(self, first: int, last: int, factor: int) -> None:
        self.rungs = [Rung(level) for level in levels(first, last, factor)]

    @property
    def first(self) -> int:
        """Where its trials pause first."""
        return self.rungs[0].level

    @property
    def halving(self) -> list[Rung]:
        """The rungs at which trials are compared: at the last one they are complete."""
        return self.rungs[:-1]

    def above(self, level: int) -> int:
        """The level of the next rung."""
        return next(rung.level for rung in self.rungs if rung.level > level)


class ASHAScheduler(Scheduler):
    """Trains many trials a little, and the promising ones more and more.

    Needs an objective that reports. For ``mode="promote"`` it should go on from checkpoints: one that cannot
    starts again from its first step at each promotion.

    Args:
        max_epochs: Step at which a trial is complete; 100 by default.
        reduction_factor: One in so many trials of a rung is promoted; at least 2.
        grace_period: Steps before the first decision.
        mode: ``"promote"`` pauses trials at rungs, ``"stop"`` ends them there.
        brackets: So many kinds of trials, the k-th of which (from 0) first pauses at rung k; a trial
            belongs to it with a weight of ``reduction_factor ** -k``.
        max_parallel: Trials that may run at the same time; None leaves it to the executor.
        max_t: Another name of ``max_epochs``.
        max_resource: Another name of ``max_epochs``.

    >>> ASHAScheduler(max_t=100).get_next_rung(10)
    30
    """

    needs_reports: ClassVar[bool] = True

    def __init__(
        self,
        max_epochs: int | None = None,
        reduction_factor: int = 3,
        grace_period: int = 1,
        mode: Literal["promote", "stop"] = "promote",
        brackets: int = 1,
        max_parallel: int | None = None,
        *,
        max_t: int | None = None,
        max_resource: int | None = None,
    ) -> None:
        super().__init__(max_parallel)
        given = [name for name in (max_epochs, max_t, max_resource) if name is not None]
        self.max_epochs = given[0] if given else 100
        self.reduction_factor = reduction_factor
        self.grace_period = grace_period
        self.mode = mode
        if problems := list(self._problems(len(given), brackets)):
            raise DefinitionError(problems, type(self).__name__)
        firsts = levels(grace_period, self.max_epochs, reduction_factor)[:brackets]
        self._brackets = [_Bracket(first, self.max_epochs, reduction_factor) for first in firsts]
        self._steps: dict[int, int] = {}
        self._stands: dict[int, tuple[Rung, Entry]] = {}

    def _problems(self, names: int, brackets: int) -> Iterator[str]:
        counts = {
            "max_epochs": self.max_epochs,
            "reduction_factor": self.reduction_factor,
            "grace_period": self.grace_period,
            "brackets": brackets,
        }
        if names > 1:
            yield "max_epochs, max_t and max_resource are the same; give one of them"
        if wrong := count_problems(**counts):
            yield from wrong
        elif self.reduction_factor == 1:
            yield "reduction_factor has to be at least 2, got 1"
        elif self.grace_period > self.max_epochs:
            yield f"grace_period is {self.grace_period}, more than max_epochs, which is {self.max_epochs}"
        elif brackets > (most := len(levels(self.grace_period, self.max_epochs, self.reduction_factor))):
            yield f"brackets is {brackets}, more than the {most} rungs"
        if self.mode not in ("promote", "stop"):
            yield f'mode has to be "promote" or "stop", got {self.mode!r}'

    def get_next_rung(self, step: int) -> int:
        """Where a trial pauses next that has paused at a step."""
        return min(step * self.reduction_factor, self.max_epochs)

    @property
    def default_trials(self) -> int:
        """So many trials that one of them is complete: ``reduction_factor`` to the power of full rungs."""
        full = 0
        while self.grace_period * self.reduction_factor ** (full + 1) <= self.max_epochs:
            full += 1
        return int(self.reduction_factor**full)

    def decide(self, event: Event | SlotFree, view: View) -> list[Verdict]:
        """Fill slots with promotions first, and keep book of who has come to which rung."""
        match event:
            case SlotFree(count):
                return self._fill(count, view)
            case Reported(trial=number):
                return self._climb(number, event.step, view)
            case SegmentEnded(trial=number) if number in self._stands:
                rung, entry = self._stands[number]
                rung.wait(entry, event.segment)
            case Failed(trial=number):
                self._fall(number, view)
        return []

    def _climb(self, number: int, step: int, view: View) -> list[Verdict]:
        """A trial has reported: it comes to all rungs between its last report and this one."""
        before, self._steps[number] = self._steps.get(number, 0), step
        loss = view.loss(view.records[number])
        if loss is None:  # it is still unknown which metric counts
            return []
        entry = Entry(loss, number)
        goes_on = True
        for rung in self._bracket_of(number).halving:
            if before < rung.level <= step:
                rank = rung.add(entry)
                self._stands[number] = rung, entry
                goes_on = goes_on and rank <= max(len(rung) // self.reduction_factor, 1)
        return [] if goes_on or self.mode == "promote" else [Stop(trial=number)]

    def _fall(self, number: int, view: View) -> None:
        """A trial has failed: it is the worst of the rung that it was on the way to."""
        goal = view.records[number].until_step
        for rung in self._bracket_of(number).halving:
            if rung.level == goal:
                rung.add(Entry(inf, number))

    def _fill(self, count: int, view: View) -> list[Verdict]:
        promotions = self._promotions(count, view)
        first = len(view.records)
        return [*promotions, *(self._new(first + k) for k in range(count - len(promotions)))]

    def _new(self, number: int) -> New:
        first = self._bracket_of(number).first if self.mode == "promote" else self.max_epochs
        return New(until_step=first, last=first == self.max_epochs)

    def _promotions(self, count: int, view: View) -> list[Resume]:
        """The best trials of the highest rungs that have some to promote."""
        found: list[Resume] = []
        for bracket in self._brackets:
            for rung in reversed(bracket.halving):
                for record in self._promotable(rung, count - len(found), view):
                    goal = bracket.above(rung.level)
                    last = goal == self.max_epochs
                    found.append(
                        Resume(trial=record.number, segment=record.segment + 1, until_step=goal, last=last)
                    )
        return found

    def _promotable(self, rung: Rung, most: int, view: View) -> list[TrialRecord]:
        """Trials of a rung that are to go on, best first."""
        waiting = rung.waiting(most, lambda trial, segment: _is_paused(view.records[trial], segment))
        share = len(rung) // self.reduction_factor
        return [view.records[entry.trial] for entry in waiting if rung.rank(entry) <= share]

    def _bracket_of(self, number: int) -> _Bracket:
        """By hash, so that it depends on nothing but the trial's number."""
        weights = [self.reduction_factor**-k for k in range(len(self._brackets))]
        left = derived_seed(self.seed, number, "bracket") / 2**SEED_BITS * sum(weights)
        for bracket, weight in zip(self._brackets, weights, strict=True):
            left -= weight
            if left < 0:
                return bracket
        return self._brackets[-1]


def _is_paused(record: TrialRecord, segment: int) -> bool:
    """Whether a trial still stands at the end of a segment."""
    return record.status == "paused" and record.segment == segment
