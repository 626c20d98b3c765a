"""What every experiment has: stages that need no code."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, cast

from metta.sweep.contracts.components import ComponentSpec, count_problems, create
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.experiments.ready.context import SweepContext
from metta.sweep.experiments.ready.points import (
    MOST_POINTS,
    axes_of,
    grid_points,
    grid_problems,
    sobol_points,
)
from metta.sweep.experiments.ready.stages import (
    RANDOM,
    Adjustable,
    AnyResources,
    Combined,
    FinalEvaluation,
    GaussianProcess,
    Options,
    ReadyStage,
    Search,
    begun,
)
from metta.sweep.experiments.ready.subject import Subject
from metta.sweep.optimizers.base import Optimizer

if TYPE_CHECKING:
    from metta.sweep.experiments.ready.forms import Evaluation, GlobalSearch, LocalSearch


class ReadyStages:
    """Stages that search what the class says: ``objective`` and ``search_space``, without annotations.

    ::

        class Refine(Experiment):
            objective = train
            search_space = {"lr": LogUniform(1e-4, 1e-1)}

            def pipeline(self) -> Pipeline[SweepContext]:
                return (
                    Pipeline()
                    .stage("explore", self.random_search(n_trials=20))
                    .stage("model", self.bayesian_optimize(n_trials=30))
                    .stage("validate", self.final_evaluation(n_seeds=5))
                )

    What flows is a ``SweepContext``. Each search is a sweep of its own, which begins with everything that
    was observed before it. ``metric``, ``goal``, ``executor``, ``scheduler``, ``retry``, ``timeout``,
    ``resources`` and ``max_failures`` of the class hold for all of them, ``seed`` for all that is drawn.

    Raises:
        DefinitionError: By each stage, with every mistake in its arguments and in what the class says.
    """

    def random_search(
        self, n_trials: int | None = None, *, n: int | None = None, resources_per_trial: AnyResources = None
    ) -> ReadyStage:
        """Draw parameters at random.

        Args:
            n_trials: How many trials to start.
            n: Another name of ``n_trials``.
            resources_per_trial: What each of them gets: a number of cores, or ``Resources``.
        """
        problems = count_problems(n_trials=n_trials, n=n)
        if n_trials is not None and n is not None:
            problems.append("n_trials and n are two names of one argument; give one of them")
        if n_trials is None and n is None:
            problems.append("n_trials is missing")
        trials = n if n_trials is None else n_trials
        return self._search("random_search", RANDOM, trials, resources_per_trial, problems)

    def grid_search(
        self,
        params: Mapping[str, object] | Sequence[str],  # lists of mixed values read as objects
        *,
        points_per_dim: int = 3,
        resources_per_trial: AnyResources = None,
    ) -> ReadyStage:
        """Try all combinations of values of some parameters.

        Parameters that are not in the grid stay at the best that is known; before anything is, at their
        ``center``, or else in the middle of their range.

        Args:
            params: Lists of values by name; or names alone.
            points_per_dim: So many values of each name alone, evenly spread; a choice takes all of its own.
            resources_per_trial: What each trial gets: a number of cores, or ``Resources``.
        """
        subject, problems = Subject(self), count_problems(points_per_dim=points_per_dim)
        axes = params
        if not problems and not subject.space_problems():
            axes = axes_of(subject.space, params, points_per_dim)
            problems += grid_problems(subject.space, axes)

        def plan(context: SweepContext, seed: int) -> Options:
            fixed = cast("Mapping[str, Any]", axes)
            return Options(RANDOM, grid_points(subject.space, fixed, context.best_params))

        return Search(subject, "grid_search", plan, None, resources_per_trial, problems)

    def sobol_sequence(self, n: int, *, resources_per_trial: AnyResources = None) -> ReadyStage:
        """Try points that fill the space evenly; needs SciPy.

        Args:
            n: How many; powers of two are the most even.
            resources_per_trial: What each trial gets: a number of cores, or ``Resources``.
        """
        subject, problems = Subject(self), _counted(n=n)
        if not problems and n > MOST_POINTS:
            problems.append(f"n has to be at most {MOST_POINTS}, got {n}")
        if find_spec("scipy") is None:
            problems.append('it needs SciPy: pip install "metta-sweep[gp]"')

        def plan(context: SweepContext, seed: int) -> Options:
            return Options(RANDOM, sobol_points(subject.space, n, seed))

        return Search(subject, "sobol_sequence", plan, n, resources_per_trial, problems)

    def bayesian_optimize(
        self,
        n_trials: int,
        *,
        acquisition: Literal["EI", "UCB"] = "EI",
        beta: float = 2.0,
        resources_per_trial: AnyResources = None,
    ) -> ReadyStage:
        """Try what a Gaussian process promises most of; needs scikit-learn.

        Args:
            n_trials: How many trials to start.
            acquisition: ``"EI"``, the expected improvement, or ``"UCB"``, the upper confidence bound.
            beta: So many standard deviations UCB adds to the mean: more of them explore more.
            resources_per_trial: What each of them gets: a number of cores, or ``Resources``.
        """
        optimizer = _bayesian(acquisition=acquisition, beta=beta)
        problems = [*_counted(n_trials=n_trials), *_problems_of(optimizer)]
        return self._search("bayesian_optimize", optimizer, n_trials, resources_per_trial, problems)

    def population_training(self, population_size: int, generations: int) -> ReadyStage:
        """Let a population of trials learn from its best members; its scheduler is not there yet.

        Args:
            population_size: Members of the population.
            generations: How often they learn from each other.

        Raises:
            DefinitionError: Always, for now.
        """
        problems = _counted(population_size=population_size, generations=generations)
        trials = "n_trials=..." if problems else f"n_trials={population_size * generations}"
        problems.append(
            "population based training is not there yet, for its scheduler is not; take instead"
            f" self.bayesian_optimize({trials}), or a SweepExperiment with ASHAScheduler() as the stage"
        )
        return ReadyStage(Subject(self), "population_training", problems)

    @property
    def combine_observations(self) -> ReadyStage:
        """Put together what branches side by side have found out, and take the best of it all."""
        return Adjustable(lambda: Combined(Subject(self), "combine_observations"))

    @property
    def fit_gaussian_process(self) -> ReadyStage:
        """Fit a Gaussian process to all observations; ``expected`` then says what it expects most of."""

        def make() -> ReadyStage:
            subject = Subject(self)
            problems = _problems_of(_bayesian())
            return GaussianProcess(subject, "fit_gaussian_process", problems, subject.space_problems())

        return Adjustable(make)

    @property
    def intensive_local_search(self) -> "LocalSearch":
        """Search around the best parameters that are known; needs scikit-learn.

        What ``fit_gaussian_process`` has expected most of is tried first. Choices stay as they are.
        Options: ``n_trials`` (20), ``radius``, how far from there, as a share of each parameter's probability
        (0.1), and ``resources_per_trial``.
        """

        def make(
            n_trials: int = 20, radius: float = 0.1, resources_per_trial: AnyResources = None
        ) -> ReadyStage:
            name, subject = "intensive_local_search", Subject(self)
            problems = [*_counted(n_trials=n_trials), *_problems_of(_bayesian(radius=radius))]

            def plan(context: SweepContext, seed: int) -> Options:
                best = context.best_params
                around = best if best and subject.holds(best) else begun(context, subject, name)[0][1]
                points = [context.expected.params] if context.expected else None
                return Options(_bayesian(radius=radius, around=around), points)

            return Search(subject, name, plan, n_trials, resources_per_trial, problems)

        return cast("LocalSearch", Adjustable(make))

    @property
    def continue_global_search(self) -> "GlobalSearch":
        """Go on searching everywhere, with the ``optimizer`` of the class, else as ``bayesian_optimize``.

        Options: ``n_trials`` (20), and ``resources_per_trial``.
        """

        def make(n_trials: int = 20, resources_per_trial: AnyResources = None) -> ReadyStage:
            optimizer = Subject(self).said("optimizer") or _bayesian()
            problems = _counted(n_trials=n_trials)
            problems += _problems_of(optimizer) if isinstance(optimizer, ComponentSpec) else []
            return self._search("continue_global_search", optimizer, n_trials, resources_per_trial, problems)

        return cast("GlobalSearch", Adjustable(make))

    @property
    def final_evaluation(self) -> "Evaluation":
        """Try the best parameters again with several seeds each; the best mean wins.

        Options: ``n_seeds``, how many trials each of them gets (5), ``top_k``, how many different parameters
        are tried (3), and ``resources_per_trial``.
        """

        def make(n_seeds: int = 5, top_k: int = 3, resources_per_trial: AnyResources = None) -> ReadyStage:
            problems = _counted(n_seeds=n_seeds, top_k=top_k)
            if not problems and n_seeds * top_k > MOST_POINTS:
                problems.append(f"n_seeds times top_k is {n_seeds * top_k}; {MOST_POINTS} are the most")
            return FinalEvaluation(
                Subject(self), "final_evaluation", n_seeds, top_k, resources_per_trial, problems
            )

        return cast("Evaluation", Adjustable(make))

    def _search(
        self,
        name: str,
        optimizer: Any,
        n_trials: int | None,
        resources: AnyResources,
        problems: list[str],
    ) -> Search:
        def plan(context: SweepContext, seed: int) -> Options:
            return Options(optimizer)

        return Search(Subject(self), name, plan, n_trials, resources, problems, optimizer)


def _bayesian(**options: Any) -> ComponentSpec:
    # not validated: what is wrong with the options is told with all other mistakes
    return ComponentSpec.model_construct(type="bayesian", options=options)


def _problems_of(optimizer: ComponentSpec) -> list[str]:
    """What is wrong with the options of an optimizer."""
    try:
        create(Optimizer, optimizer)
    except DefinitionError as error:
        return [*error.problems]
    return []


def _counted(**counts: object) -> list[str]:
    """What is wrong with arguments that count something, and have to be given."""
    missing = [f"{name} is missing" for name, count in counts.items() if count is None]
    return [*missing, *count_problems(**counts)]
