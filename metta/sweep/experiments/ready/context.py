"""The context: what is known so far, as it flows from one search to the next."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass, field, replace
from math import isnan, nan
from typing import Annotated, Any, Self

from metta.sweep.contracts.failures import Failure
from metta.sweep.contracts.metrics import BARE, Goal, Objective, inferred_goal
from metta.sweep.contracts.trials import Observation, Trial
from metta.sweep.contracts.wording import value_text
from metta.sweep.pipeline.merging import Merge


@dataclass(frozen=True)
class Candidate:
    """Parameters that were tried several times.

    Args:
        params: The parameters.
        mean: Mean of the metric; NaN when no trial succeeded.
        deviation: Its standard deviation, 0 for a single trial.
        scores: The metric of each trial that succeeded.
        failed: So many trials failed.
    """

    params: dict[str, Any]
    mean: float = nan
    deviation: float = 0.0
    scores: list[float] = field(default_factory=list)
    failed: int = 0

    def __str__(self) -> str:
        """Its mean and deviation, and the parameters."""
        return f"  {value_text(self.mean)} +- {value_text(self.deviation)}  {self.params}"


@dataclass(frozen=True)
class Expectation:
    """What a model expects of parameters that need not have been tried.

    Args:
        params: The parameters of which it expects most.
        mean: Expected metric.
        deviation: Standard deviation of that.
    """

    params: dict[str, Any]
    mean: float
    deviation: float


def _trials_joined(before: Sequence[Trial] | None, behind: Sequence[Sequence[Trial]]) -> list[Trial]:
    return numbered(_joined(before or [], behind, _trial_key))


def _observations_joined(
    before: Sequence[Observation] | None, behind: Sequence[Sequence[Observation]]
) -> list[Observation]:
    return renumbered(_joined(before or [], behind, _observation_key))


def _phases_joined(before: str | None, behind: Sequence[str]) -> str:
    news = dict.fromkeys(name for name in behind if name and name != before)
    return " + ".join(news) or before or ""


def _of_the_best(name: str) -> Merge:
    """The field of the branch with the best score; the earlier one of equals."""

    def field_of(before: Mapping[str, Any], behind: Sequence[Mapping[str, Any]]) -> Any:
        goal = next((fields["goal"] for fields in behind if fields.get("goal")), None)
        scored = [fields for fields in behind if not isnan(fields.get("best_score", nan))]
        best = (min if goal == "minimize" else max)(
            scored, key=lambda fields: fields["best_score"], default=None
        )
        return (best or behind[0])[name]

    return Merge(field_of, whole=True)


def _first_said(before: Any, behind: Sequence[Any]) -> Any:
    return next((value for value in behind if value is not None), before)


def _last_said(before: Any, behind: Sequence[Any]) -> Any:
    news = [value for value in behind if value and value != before]
    return news[-1] if news else before or behind[0]


@dataclass(frozen=True)
class SweepContext:
    """What searches hand on to those after them. It is not changed; ``dataclasses.replace`` makes another.

    Side by side, branches get the same one; what they have found out is put together behind them.

    Args:
        trials: Trials that came to an end, the oldest first; their numbers are below 0.
        observations: What became of them. Trials that failed by nobody's fault are in neither.
        current_phase: Name of the last phase that has ended.
        best_score: The best value of the metric that counts; NaN while there is none. After
            ``final_evaluation`` a mean.
        best_params: Parameters that gave it.
        metric: The metric that counts; None while it is unknown.
        goal: Its direction; None while it is unknown.
        expected: What the last model expects most of; None before there was one.
        candidates: What ``final_evaluation`` has tried several times, the best first.
    """

    trials: Annotated[list[Trial], Merge(_trials_joined)] = field(default_factory=list)
    observations: Annotated[list[Observation], Merge(_observations_joined)] = field(default_factory=list)
    current_phase: Annotated[str, Merge(_phases_joined)] = ""
    best_score: Annotated[float, _of_the_best("best_score")] = nan
    best_params: Annotated[dict[str, Any], _of_the_best("best_params")] = field(default_factory=dict)
    metric: Annotated[str | None, Merge(_first_said)] = None
    goal: Annotated[Goal | None, Merge(_first_said)] = None
    expected: Annotated[Expectation | None, Merge(_last_said)] = None
    candidates: Annotated[list[Candidate], Merge(_last_said)] = field(default_factory=list)

    @property
    def objective(self) -> Objective | None:
        """The metric that counts and its direction, as far as they are known."""
        if self.metric is None:
            return None
        return Objective(self.metric, self.goal or inferred_goal(self.metric))

    def summary(self) -> dict[str, Any]:
        """The best, the candidates and the counts, as plain JSON."""
        return {
            "trials": len(self.trials),
            "phase": self.current_phase,
            "metric": self.metric,
            "best_score": None if isnan(self.best_score) else self.best_score,
            "best_params": self.best_params,
            "candidates": [asdict(candidate) for candidate in self.candidates],
        }

    def __str__(self) -> str:
        """A line for the whole, and one for each candidate."""
        best = "" if isnan(self.best_score) else f"; best {self.metric} {value_text(self.best_score)}"
        head = f"{len(self.trials)} trials, the last of them in the phase {self.current_phase}{best}"
        return "\n".join(
            [head, *map(str, self.candidates), *([] if self.candidates else [f"  {self.best_params}"])]
        )

    def judged(self, metric: str | None, goal: Goal | None) -> Self:
        """The same by a metric and goal; None of each for what the observations tell.

        Best score and parameters are found where there are none.
        """
        names = next((names for o in self.observations if (names := metrics_of(o))), {})
        metric, goal = Objective.resolve(metric, goal, names) or (metric, goal)
        judged = replace(self, metric=metric, goal=goal)
        if self.metric is not None and (self.metric, self.goal) != (metric, goal):  # that was another best
            judged = replace(judged, best_score=nan, best_params={}, expected=None, candidates=[])
        if judged.best_params or not (ranked := judged.ranked()):
            return judged
        return replace(judged, best_score=ranked[0][0], best_params=ranked[0][1])

    def ranked(self) -> list[tuple[float, dict[str, Any]]]:
        """Values and parameters of the observations that have one, the best first.

        Trials that were stopped or paused come behind those that ran to their end.
        """
        objective = self.objective
        found = [(value_of(o, self.metric), o.trial) for o in self.observations]
        valued = [(value, trial) for value, trial in found if value is not None]
        sign = -1 if objective is None or objective.goal == "maximize" else 1
        valued.sort(key=lambda pair: (pair[1].ended_at is not None, sign * pair[0]))
        return [(value, trial.params) for value, trial in valued]


def metrics_of(observation: Observation) -> Mapping[str, float]:
    """The numbers of an observation by name; none when its trial failed."""
    result = observation.result
    if isinstance(result, Failure):
        return {}
    return {**(result if isinstance(result, Mapping) else {BARE: result}), **(observation.metrics or {})}


def value_of(observation: Observation, metric: str | None) -> float | None:
    """What an observation says of a metric, which a number without a name is; None when it says nothing."""
    numbers = metrics_of(observation)
    return numbers.get(metric or BARE, numbers[BARE] if numbers.keys() == {BARE} else None)


def numbered(trials: Iterable[Trial]) -> list[Trial]:
    """The same trials with numbers from -n to -1."""
    found = [copy(trial) for trial in trials]
    for number, trial in enumerate(found, -len(found)):
        trial.number = number
    return found


def renumbered(observations: Iterable[Observation]) -> list[Observation]:
    """The same observations, of trials with numbers from -n to -1."""
    found = [*observations]
    trials = numbered(observation.trial for observation in found)
    return [Observation(t, o.result, o.metrics, o.seconds) for t, o in zip(trials, found, strict=True)]


def _joined(before: Sequence[Any], behind: Sequence[Sequence[Any]], key: Any) -> list[Any]:
    """What was there before, and what each branch has added to it."""
    known = Counter(map(key, before))
    joined = [*before]
    for items in behind:
        left = known.copy()
        for item in items:
            name = key(item)
            if left[name]:
                left[name] -= 1
            else:
                joined.append(item)
    return joined


def _trial_key(trial: Trial) -> str:
    return text_of([trial.params, trial.seed, trial.ended_at])


def _observation_key(observation: Observation) -> str:
    result = observation.result
    plain: Any = result.model_dump(mode="json") if isinstance(result, Failure) else result
    return text_of([_trial_key(observation.trial), plain, observation.metrics, observation.seconds])


def text_of(value: Any) -> str:
    """The same text for equal parameters, in whatever order they are."""
    return json.dumps(value, sort_keys=True, default=repr)
