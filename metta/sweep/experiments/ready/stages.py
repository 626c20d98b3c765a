"""Stages: searches, and what lies between them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from inspect import Parameter, Signature, signature
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from metta.sweep.contracts.components import ComponentSpec, create
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.failures import Failure
from metta.sweep.contracts.models import unknown_name
from metta.sweep.contracts.stages import current_stage
from metta.sweep.contracts.trials import Resources
from metta.sweep.experiments.ready.context import (
    Candidate,
    Expectation,
    SweepContext,
    numbered,
    renumbered,
    text_of,
    value_of,
)
from metta.sweep.experiments.ready.subject import Subject
from metta.sweep.optimizers.base import Optimizer

if TYPE_CHECKING:
    from metta.sweep.client.results import Results
    from metta.sweep.contracts.records import TrialRecord

AnyResources: TypeAlias = Resources | float | None

RANDOM = ComponentSpec(type="random")
ASYNCHRONOUS = ComponentSpec(type="asynchronous")

_gathered: ContextVar[list[str] | None] = ContextVar("gathered", default=None)


@contextmanager
def gathering() -> Iterator[list[str]]:
    """Within it mistakes in stages are not raised: they are told together, with those of the pipeline."""
    problems: list[str] = []
    token = _gathered.set(problems)
    try:
        yield problems
    finally:
        _gathered.reset(token)


class ReadyStage:
    """A stage that takes what is known and adds to it; it may be called by hand, too.

    Args:
        subject: What is searched.
        name: What the stage is called where the pipeline does not say.
        problems: What is wrong with its arguments.
        wrong: What is wrong with what the class of the experiment says.

    Raises:
        DefinitionError: When anything is wrong, but where mistakes are gathered.
    """

    def __init__(
        self, subject: Subject, name: str, problems: Sequence[str] = (), wrong: Sequence[str] = ()
    ) -> None:
        self._subject, self.__name__ = subject, name
        gathered = _gathered.get()
        if gathered is None and (problems or wrong):
            raise DefinitionError([*problems, *wrong], f"{subject.name}.{name}")
        if gathered is not None:
            mistakes = [*(f"{name}: {problem}" for problem in problems), *wrong]
            gathered += [mistake for mistake in mistakes if mistake not in gathered]

    async def __call__(self, context: SweepContext | None) -> SweepContext:
        """What is known afterwards; None begins with nothing."""
        known = SweepContext() if context is None else context
        metric = self._subject.said("metric") or known.metric
        return await self._done(known.judged(metric, self._subject.said("goal") or known.goal))

    async def _done(self, context: SweepContext) -> SweepContext:
        raise NotImplementedError

    @property
    def _phase(self) -> str:
        """Name of the stage; its own one where the pipeline has none for it."""
        try:
            *above, last = current_stage().path.split("/")
        except RuntimeError:
            return self.__name__
        return self.__name__ if last.startswith("@") or (above and above[-1].startswith("@")) else last

    def _told(self, context: SweepContext, results: "Results") -> SweepContext:
        """What is known with the results of a search."""
        from metta.sweep.client.observations import load_observations

        found = load_observations(results)
        known = replace(
            context,
            trials=numbered([*context.trials, *(observation.trial for observation in found)]),
            observations=renumbered([*context.observations, *found]),
            current_phase=self._phase,
        )
        return with_best(known.judged(*results.table.objective) if results.table.objective else known)

    def __repr__(self) -> str:
        return f"<{self.__name__} of {self._subject.name}>"


class Adjustable(ReadyStage):
    """A stage that stands for itself, and called with options for one that has them.

    Args:
        make: Makes the stage of its options.
    """

    __signature__ = Signature([Parameter("context", Parameter.POSITIONAL_OR_KEYWORD)])

    def __init__(self, make: Callable[..., ReadyStage]) -> None:
        self._make, self._made = make, make()
        super().__init__(self._made._subject, self._made.__name__)

    if not TYPE_CHECKING:  # each has a form of its own, see `forms`

        def __call__(self, context: SweepContext | None = ..., *more: Any, **options: Any) -> SweepContext:
            """What is known afterwards; without a context the stage with these options."""
            if context is None or isinstance(context, SweepContext):
                return self._made(context)
            given, known = () if context is ... else (context, *more), signature(self._make).parameters
            if problems := [problem for name in options if (problem := unknown_name(name, known))]:
                return ReadyStage(self._subject, self.__name__, problems)
            return self._make(*given, **options)


class Options(NamedTuple):
    """What a search does with what is known.

    Args:
        optimizer: What to try next.
        points: What the first trials try.
    """

    optimizer: Any
    points: list[dict[str, Any]] | None = None


class Search(ReadyStage):
    """A sweep that begins with everything that is known.

    Args:
        subject: What is searched.
        name: What the stage is called where the pipeline does not say.
        plan: Says what it does, of what is known and of a seed.
        n_trials: How many trials it starts; None takes the points alone.
        resources: What each trial gets: ``Resources``, or a number of cores.
        problems: What is wrong with its other arguments.
        optimizer: The optimizer, where it does not depend on what is known.

    Raises:
        DefinitionError: With every mistake, those of the experiment's class among them.
    """

    def __init__(
        self,
        subject: Subject,
        name: str,
        plan: Callable[[SweepContext, int], Options],
        n_trials: int | None,
        resources: AnyResources,
        problems: list[str],
        optimizer: Any = RANDOM,
    ) -> None:
        self._plan, self._n_trials, self._resources = plan, n_trials, resources
        super().__init__(subject, name, problems, subject.problems(resources, optimizer=optimizer))

    async def _done(self, context: SweepContext) -> SweepContext:
        seed = self._subject.seed(self.__name__, context)
        optimizer, points = self._plan(context, seed)
        results = await self._subject.searched(
            context,
            self._n_trials or len(points or ()),
            optimizer=optimizer,
            initial_points=points,
            warm_start=context.observations,
            scheduler=self._subject.said("scheduler"),
            resources=self._resources,
            seed=seed,
        )
        return self._told(context, results)


class Combined(ReadyStage):
    """Puts together what branches side by side have found out."""

    async def _done(self, context: SweepContext) -> SweepContext:
        return replace(
            with_best(context),
            trials=numbered(context.trials),
            observations=renumbered(context.observations),
            current_phase=self._phase,
        )


class GaussianProcess(ReadyStage):
    """Fits a Gaussian process to all that is known."""

    async def _done(self, context: SweepContext) -> SweepContext:
        begun(context, self._subject, self.__name__)
        optimizer: Any = create(Optimizer, ComponentSpec(type="bayesian"))
        objective, seed = context.objective, self._subject.seed(self.__name__, context)
        optimizer.setup(self._subject.space, () if objective is None else (objective,), seed)
        inside = (o for o in context.observations if self._subject.holds(o.trial.params))
        for observation in renumbered(inside):
            failure = observation.result if isinstance(observation.result, Failure) else None
            value = value_of(observation, context.metric)
            if failure is not None or value is not None:
                optimizer.observe(observation.trial, value if failure is None else failure)
        expected = Expectation(*optimizer.expected())
        return replace(context, expected=expected, current_phase=self._phase)


class FinalEvaluation(ReadyStage):
    """Tries the best parameters again, with several seeds each.

    Args:
        subject: What is searched.
        name: What the stage is called where the pipeline does not say.
        n_seeds: How many trials each of them gets.
        top_k: How many different parameters are tried.
        resources: What each trial gets: ``Resources``, or a number of cores.
        problems: What is wrong with its arguments.

    Raises:
        DefinitionError: With every mistake, those of the experiment's class among them.
    """

    def __init__(
        self,
        subject: Subject,
        name: str,
        n_seeds: int,
        top_k: int,
        resources: AnyResources,
        problems: list[str],
    ) -> None:
        self._n_seeds, self._top_k, self._resources = n_seeds, top_k, resources
        super().__init__(subject, name, problems, subject.problems(resources, optimizer=RANDOM))

    async def _done(self, context: SweepContext) -> SweepContext:
        different: dict[str, dict[str, Any]] = {}
        for _, params in begun(context, self._subject, self.__name__):
            different.setdefault(text_of(params), params)
        chosen = [*different.values()][: self._top_k]
        results = await self._subject.searched(
            context,
            self._n_seeds * len(chosen),
            optimizer=RANDOM,
            scheduler=ASYNCHRONOUS,  # none that ends trials early, for all are to be compared
            # seed by seed: one that always fails does not come before all others
            initial_points=chosen * self._n_seeds,
            max_failures=self._subject.said("max_failures") or self._n_seeds * len(chosen),
            resources=self._resources,
            seed=self._subject.seed(self.__name__, context),
        )
        trials = [results.trials[k :: len(chosen)] for k in range(len(chosen))]
        candidates = [self._candidate(*each, results) for each in zip(chosen, trials, strict=True)]
        known = self._told(context, results)
        sign = 1 if known.goal == "minimize" else -1
        # one that fails with some seeds is no better than those that never do; the earlier one of equals
        candidates.sort(key=lambda found: (not found.scores, found.failed, sign * found.mean))
        best = candidates[0]
        return replace(known, candidates=candidates, best_score=best.mean, best_params=best.params)

    @staticmethod
    def _candidate(params: dict[str, Any], trials: "list[TrialRecord]", results: "Results") -> Candidate:
        found = [results.table.value(trial) if trial.status == "completed" else None for trial in trials]
        scores = [value for value in found if value is not None]
        failed = len(found) - len(scores)  # fewer were started where a budget was used up
        if not scores:
            return Candidate(params, failed=failed)
        return Candidate(params, fmean(scores), stdev(scores) if scores[1:] else 0.0, scores, failed)


def begun(context: SweepContext, subject: Subject, name: str) -> list[tuple[float, dict[str, Any]]]:
    """Values and parameters in its space that are known, the best first.

    Args:
        context: What is known.
        subject: What is searched.
        name: The stage that is to begin with it.

    Raises:
        DefinitionError: When nothing is.
    """
    ranked = [(value, params) for value, params in context.ranked() if subject.holds(params)]
    if not ranked:
        problem = "nothing was found out yet that it could begin with; put a search before it"
        raise DefinitionError([problem], f"{subject.name}.{name}")
    return ranked


def with_best(context: SweepContext) -> SweepContext:
    """The same, with its best score and parameters; as they are where no observation has a value."""
    if not (ranked := context.ranked()):
        return context
    best_score, best_params = ranked[0]
    return replace(context, best_score=best_score, best_params=best_params)
