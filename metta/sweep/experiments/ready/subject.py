"""The subject: what the class of an experiment says of the searches in it."""

from collections.abc import Mapping
from functools import cached_property
from inspect import Parameter, getattr_static, signature
from typing import TYPE_CHECKING, Any

from metta.sweep.contracts.distributions import is_number
from metta.sweep.contracts.errors import DefinitionError, SpaceError
from metta.sweep.contracts.nesting import nested_in, nesting
from metta.sweep.contracts.seeds import derived_seed
from metta.sweep.contracts.spaces import SearchSpace
from metta.sweep.contracts.stages import current_stage
from metta.sweep.contracts.trials import Resources
from metta.sweep.experiments.ready.context import SweepContext
from metta.sweep.pipeline.nesting import LocalNesting

if TYPE_CHECKING:
    from metta.sweep.client.results import Results
    from metta.sweep.experiments.sweep import SweepExperiment

TAKEN_ALONG = ("metric", "goal", "executor", "retry", "timeout", "resources", "max_failures")
"""Arguments of a sweep that hold for every search, where the class has an attribute of that name."""


class Subject:
    """What is searched, as attributes of an experiment say.

    Args:
        experiment: The experiment.
    """

    def __init__(self, experiment: object) -> None:
        self._experiment = experiment

    def __repr__(self) -> str:
        return f"Subject({type(self._experiment).__name__})"

    @property
    def name(self) -> str:
        """Its class, for errors."""
        return type(self._experiment).__name__

    def said(self, name: str) -> Any:
        """An attribute; None where there is none."""
        return getattr(self._experiment, name, None)

    @property
    def objective(self) -> Any:
        """What is tried; a function as such, for an attribute of the class would be a method of it."""
        found = getattr_static(self._experiment, "objective", None)
        if isinstance(found, staticmethod):
            return found.__func__
        return self.said("objective") if isinstance(found, property) else found

    @cached_property
    def space(self) -> SearchSpace:
        """Where to search.

        Raises:
            DefinitionError: When it is not there, or wrong.
        """
        optimizer = self.said("optimizer")
        given = self.said("search_space") or getattr(optimizer, "search_space", None)
        if given is None:
            problem = (
                'search_space is missing; add it to the class: search_space = {"lr": LogUniform(1e-4, 0.1)}'
            )
            raise DefinitionError([problem], self.name)
        return SearchSpace.of(given)

    def holds(self, params: Mapping[str, Any]) -> bool:
        """Whether parameters lie in the space: an earlier search may have had another one."""
        try:
            self.space.validate(params)
        except SpaceError:
            return False
        return True

    def space_problems(self) -> list[str]:
        """What is wrong with the space."""
        try:
            _ = self.space
        except DefinitionError as error:
            return [*error.problems]
        return []

    def problems(self, resources: Any = None, **options: Any) -> list[str]:
        """What keeps a search from running.

        Args:
            resources: What each trial is to get: ``Resources``, or a number of cores.
            **options: Other arguments of the sweep.
        """
        missing = [*self._missing()]
        if resources is not None and not isinstance(resources, Resources) and not _is_positive(resources):
            hint = "a number of cores above 0, or Resources(...)"
            missing.append(f"resources_per_trial has to be {hint}, got {resources!r}")
        if missing:
            return missing
        try:
            self.sweep(resources=resources, **options)
        except DefinitionError as error:
            return [*error.problems]
        return []

    def sweep(self, resources: Resources | float | None = None, **options: Any) -> "SweepExperiment":
        """A search of it.

        Args:
            resources: What each trial gets: ``Resources``, or a number of cores.
            **options: Other arguments of the sweep; None where the class may say.

        Raises:
            DefinitionError: With every mistake.
        """
        from metta.sweep.experiments.sweep import SweepExperiment

        taken = {name: self.said(name) for name in TAKEN_ALONG}
        given = {name: value for name, value in options.items() if value is not None}
        if resources is not None:
            given["resources"] = resources if isinstance(resources, Resources) else Resources(cpu=resources)
        arguments: dict[str, Any] = {**taken, **given}
        return SweepExperiment(self.objective, self.space, **arguments)

    async def searched(self, context: SweepContext, n_trials: int, **options: Any) -> "Results":
        """Search as a part of the stage that runs here; in this process where none does.

        Args:
            context: What is known already.
            n_trials: How many trials to start.
            **options: Arguments of the sweep.

        Raises:
            SweepFailed: When no trial succeeded.
        """
        sweep = self.sweep(metric=context.metric, goal=context.goal, **options)
        with nested_in(nesting() or LocalNesting()):
            return await sweep.run(n_trials)

    def seed(self, name: str, context: SweepContext) -> int:
        """Seed of a stage, the same at each of its attempts.

        Args:
            name: What the stage is called where it is called by hand.
            context: What is known, so that by hand another one comes next time.
        """
        own = self.said("seed")
        base = own if isinstance(own, int) else None
        try:
            stage = current_stage()
        except RuntimeError:
            return derived_seed(base or 0, len(context.trials), name)
        return stage.seed if base is None else derived_seed(base, 0, f"{stage.path}{list(stage.turns)}")

    def _missing(self) -> list[str]:
        from metta.sweep.experiments.defaults import with_defaults

        problems = []
        objective = self.objective
        if with_defaults({"objective": objective}).get("objective") is None:
            problems.append("objective is missing; add it to the class: objective = train")
        elif _is_method(objective):
            problems.append(
                "objective is a method, and trials know of no experiment; define the function outside of the"
                " class: objective = train"
            )
        problems += self.space_problems()
        return problems


def _is_method(objective: Any) -> bool:
    """Whether it is a function whose first parameter is called ``self``."""
    try:
        first: Parameter | None = next(iter(signature(objective).parameters.values()), None)
    except (TypeError, ValueError):
        return False
    return not isinstance(objective, type) and first is not None and first.name == "self"


def _is_positive(value: object) -> bool:
    return is_number(value) and value > 0
