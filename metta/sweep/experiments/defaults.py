"""Defaults: what this program or its project says once, for all experiments that say nothing else."""

from collections.abc import Iterator, Mapping
from typing import Any, TypedDict, Unpack

from pydantic import JsonValue

from metta.sweep.contracts.components import ComponentSpec, Configured, create
from metta.sweep.contracts.defaults import Defaults, is_in_script, said_elsewhere
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.failures import RetryPolicy
from metta.sweep.contracts.jobs import Job
from metta.sweep.contracts.metrics import Goal
from metta.sweep.contracts.models import parse
from metta.sweep.contracts.trials import Resources
from metta.sweep.executors.base import Executor
from metta.sweep.experiments.objectives import is_tried
from metta.sweep.experiments.references import AnyObjective, problems_of_objective, reference_of, spec_of
from metta.sweep.optimizers.base import Optimizer
from metta.sweep.schedulers.base import Scheduler

KINDS: dict[str, type[Configured]] = {"optimizer": Optimizer, "scheduler": Scheduler, "executor": Executor}


class Options(TypedDict, total=False):
    """The arguments of ``configure``."""

    objective: AnyObjective | None
    optimizer: Optimizer | None
    scheduler: Scheduler | None
    executor: Executor | None
    metric: str | None
    goal: Goal | None
    retry: RetryPolicy | int | None
    timeout: float | None
    resources: Resources | None
    max_failures: int | None


_configured: dict[str, Any] = {}
"""What ``configure`` was told, as plain data; the objective as it was given, like an experiment's own."""


def configure(**options: Unpack[Options]) -> None:
    """Set defaults for the experiments that this program makes from now on.

    Called again it changes the arguments that are given; None takes one back. An argument of an
    experiment comes first, then what is configured here, then ``[tool.metta-sweep]`` in pyproject.toml.
    A metric that comes first leaves a goal behind that was said for another metric.

    Args:
        **options: Those arguments of ``SweepExperiment`` that make sense for more than one: ``objective``,
            ``optimizer``, ``scheduler``, ``executor``, ``metric``, ``goal``, ``retry``, ``timeout``,
            ``resources``, ``max_failures``.

    Raises:
        DefinitionError: With every mistake; nothing is changed then.
    """
    global _configured
    said: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    if getattr(said.get("optimizer"), "told_by_hand", ()):
        problem = (
            "optimizer was told observations by hand; give it to the experiment that is to begin with them"
        )
        raise DefinitionError([problem], "configure")
    components, problems = specs_of({name: said.pop(name) for name in KINDS if name in said})
    code: dict[str, Any] = {}
    # what a reference names is looked for when an experiment takes it: a package may configure one of its own
    if not isinstance(said.get("objective", ""), str):
        code["objective"] = said.pop("objective")
        problems += problems_of_objective(code["objective"], bare_allowed=True)
    try:
        said = parse(Defaults, said, "configure").said | components | code
    except DefinitionError as error:
        problems += error.problems
    if problems:
        raise DefinitionError(problems, "configure")
    _configured = {name: value for name, value in _configured.items() if name not in options} | said


def with_defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of an experiment that are not None, and the defaults of others.

    Raises:
        DefinitionError: With every mistake in the defaults of the project that are needed.
    """
    said = {name: value for name, value in given.items() if value is not None}
    for defaults in (said_elsewhere(), _configured):
        said = _over(said, defaults)
    return _over(said, _of_the_project(said))


def configured() -> dict[str, JsonValue]:
    """What ``configure`` was told here, as other processes can be told; an experiment as objective is not.

    Raises:
        DefinitionError: When the objective cannot travel.
    """
    said = _over(said_elsewhere(), _configured)
    if not isinstance(objective := said.pop("objective", None), str | Job | None) and not is_tried(objective):
        from metta.sweep.client.handovers import findable

        objective = findable(reference_of(objective), objective)
    if isinstance(objective, str | Job):
        said["objective"] = objective
    return Defaults.model_validate(said).model_dump(mode="json", exclude_defaults=True)


def specs_of(components: Mapping[str, object]) -> tuple[dict[str, ComponentSpec], list[str]]:
    """Components as plain data of one's own, where they are not yet, and what is wrong with them."""
    found: dict[str, ComponentSpec] = {}
    problems: list[str] = []
    for name, component in components.items():
        try:
            if isinstance(component, ComponentSpec):
                found[name] = component.model_copy(deep=True)
            else:
                found[name] = spec_of(component, KINDS[name])
        except DefinitionError as error:
            problems += error.problems
    return found, problems


def _over(first: Mapping[str, Any], then: Mapping[str, Any]) -> dict[str, Any]:
    """What is said first, and for what it leaves open the other; a goal belongs to its metric."""
    said = {**then, **first}
    if "goal" not in first and said.get("metric") != then.get("metric", said.get("metric")):
        said.pop("goal", None)
    return said


def _of_the_project(said: Mapping[str, Any]) -> dict[str, Any]:
    from metta.sweep.client.settings import Project  # 10 ms that runners need not pay

    project = Project.find()
    found = project.configuration.said
    if problems := [*_problems({name: value for name, value in found.items() if name not in said})]:
        raise DefinitionError(problems, project.where)
    return found


def _problems(needed: Mapping[str, Any]) -> Iterator[str]:
    """What a file's defaults name that is not there, or cannot be made."""
    if "objective" in needed:
        yield from problems_of_objective(needed["objective"], bare_allowed=True)
    for name, kind in KINDS.items():
        # a script is imported where it runs and not here, where it may be running
        if name in needed and not is_in_script(needed[name].type):
            try:
                create(kind, needed[name])
            except DefinitionError as error:
                yield from (f"{name}: {problem}" for problem in error.problems)
