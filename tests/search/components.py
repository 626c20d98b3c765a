"""Optimizers and schedulers that put the search to the test: they remember, pause, promote and stop."""

from collections.abc import Mapping
from random import Random
from statistics import fmean
from typing import Any

from metta.sweep.contracts.decisions import Resume, Stop
from metta.sweep.contracts.distributions import Distribution
from metta.sweep.contracts.events import Event, Reported, SegmentEnded
from metta.sweep.contracts.metrics import Objective
from metta.sweep.contracts.spaces import SearchSpace
from metta.sweep.contracts.trials import Result, Trial
from metta.sweep.optimizers.base import Optimizer
from metta.sweep.schedulers.base import New, Scheduler, SlotFree, Verdict, View


def component(kind: type, **options: Any) -> dict[str, Any]:
    """What a definition says to get an optimizer or scheduler of a test."""
    return {"type": f"{kind.__module__}:{kind.__qualname__}", "options": options}


class Climber(Optimizer):
    """Draws near the best trial; its random state goes on from ask to ask, so asks have to be repeated.

    Args:
        tries: So many trials it suggests; None means without end.
    """

    def __init__(
        self,
        search_space: SearchSpace | Mapping[str, Distribution] | None = None,
        *,
        seed: int | None = None,
        tries: int | None = None,
    ) -> None:
        super().__init__(search_space, seed=seed)
        self.left = tries
        self.asks = 0
        self.best = (0.0, 0.5)
        self.remembered: list[int] = []

    def setup(
        self,
        space: SearchSpace,
        objectives: tuple[Objective, ...],
        seed: int | str,
        trials: int | None = None,
    ) -> None:
        super().setup(space, objectives, seed, trials)
        self.random = Random(f"{seed} {trials}")

    def suggest(self, n: int) -> list[Trial]:
        self.asks += 1
        self.random.random()  # an ask leaves a trace, even where nothing comes of it
        n = n if self.left is None else min(n, self.left)
        self.left = None if self.left is None else self.left - n
        return [Trial({"x": self._near_the_best()}) for _ in range(n)]

    def _near_the_best(self) -> float:
        return min(1.0, max(0.0, self.best[1] + self.random.gauss(0, 0.1)))

    def observe(self, trial: Trial, result: Result) -> None:
        if isinstance(result, float):
            self.best = max(self.best, (result, trial.params["x"]))
        else:
            self.random.random()

    def remember(self, trial: Trial) -> None:
        self.remembered.append(trial.number)
        self.random.random()


class Listener(Optimizer):
    """Notes all that it is told. Stateless, and yet none of that may get lost.

    Args:
        every: Whether it wants all metrics.
    """

    stateless = True

    def __init__(self, every: bool = False) -> None:
        self.all_metrics = every  # type: ignore[misc]  # a constant of the class elsewhere
        self.heard: list[object] = []

    def suggest(self, n: int) -> list[Trial]:
        return [Trial({"x": 0.5})] * n

    def observe(self, trial: Trial, result: Result) -> None:
        self.heard.append((trial.number, result if isinstance(result, float | dict) else "failure"))

    def remember(self, trial: Trial) -> None:
        self.heard.append(trial.number)


class BelowMean(Scheduler):
    """Stops a trial whose report is below the mean of all reports so far."""

    def __init__(self) -> None:
        self.reported: list[float] = []

    def decide(self, event: Event | SlotFree, view: View) -> list[Verdict]:
        if not isinstance(event, Reported):
            return super().decide(event, view)
        value = view.value(view.records[event.trial])
        if value is None:
            return []
        self.reported.append(value)
        return [Stop(trial=event.trial)] if value < fmean(self.reported) else []


class Halving(Scheduler):
    """Successive halving: a rung ends at step 1, 2, 4 ..., and the better half of it goes on to the next.

    Args:
        rungs: How many there are.
    """

    def __init__(self, rungs: int = 3) -> None:
        self.ended: list[list[tuple[float, int]]] = [[] for _ in range(rungs)]

    def decide(self, event: Event | SlotFree, view: View) -> list[Verdict]:
        match event:
            case SegmentEnded(trial=number, segment=rung):
                value = view.value(view.records[number])
                assert value is not None
                self.ended[rung].append((-value, number))
            case SlotFree(count):
                resumes = self._promotions(view)[:count]
                return [*resumes, *[New(until_step=1)] * (count - len(resumes))]
        return []

    def _promotions(self, view: View) -> list[Verdict]:
        return [
            Resume(trial=number, segment=rung + 1, until_step=2 ** (rung + 1))
            for rung in reversed(range(len(self.ended) - 1))
            for _, number in sorted(self.ended[rung])[: len(self.ended[rung]) // 2]
            if view.records[number].status == "paused" and view.records[number].segment == rung
        ]


class Exploiter(Scheduler):
    """Ends a trial that falls behind the best one, and starts a child of the best one in its place."""

    def decide(self, event: Event | SlotFree, view: View) -> list[Verdict]:
        if not isinstance(event, Reported):
            return super().decide(event, view)
        ranked = sorted(
            (-value, r.number) for r in view.running.values() if (value := view.value(r)) is not None
        )
        if len(ranked) < 2 or ranked[-1][1] != event.trial:
            return []
        best = view.records[ranked[0][1]]
        child = New(params={"x": best.params["x"]}, parent=best.number, checkpoint_from=best.checkpoint)
        return [Stop(trial=event.trial), child]
