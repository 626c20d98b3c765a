"""Arguments: what a sweep takes, as fields of an experiment, which have a form in JSON."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, PlainSerializer, PlainValidator, TypeAdapter, ValidationError

from metta.sweep.contracts.components import Component, ComponentSpec, load
from metta.sweep.contracts.distributions import Distribution
from metta.sweep.contracts.errors import DefinitionError, nearest
from metta.sweep.contracts.experiments import ExperimentSpec
from metta.sweep.contracts.importing import is_importing_names
from metta.sweep.contracts.jobs import Job, objective_from
from metta.sweep.contracts.models import problems_of as told
from metta.sweep.contracts.objective_specs import ObjectiveSpec
from metta.sweep.contracts.objectives import problems_of
from metta.sweep.contracts.spaces import SearchSpace
from metta.sweep.executors.base import Executor
from metta.sweep.experiments.defaults import KINDS
from metta.sweep.experiments.objectives import class_of, is_tried, spec_of_tried
from metta.sweep.experiments.references import AnyObjective, reference_of, spec_of
from metta.sweep.optimizers.base import Optimizer
from metta.sweep.schedulers.base import Scheduler

_COMPONENT = TypeAdapter[ComponentSpec](Component)
_OBJECTIVE = TypeAdapter[ObjectiveSpec](ObjectiveSpec)

_given: dict[str, Any] = {}
"""Code by its reference, as it was given in this process: it is not to be imported a second time here."""


def _told(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A validator whose mistakes are told beside those of other fields."""

    def validate(value: Any) -> Any:
        try:
            return None if value is None else read(value)
        except DefinitionError as error:
            raise ValueError("\n".join(error.problems)) from None

    return validate


def _space(value: Any) -> SearchSpace:
    return SearchSpace.of(value) if isinstance(value, Mapping) else SearchSpace(value)


def _objective(value: Any) -> Any:
    """What names it in other processes; what has no name by which they would find it goes into the store."""
    given = objective_from(value)
    if is_tried(given):
        reference = reference_of(class_of(given))
        if reference.kind == "value":
            problem = (
                f"{reference.name} is defined inside a function or notebook; define it in a module or script"
            )
            raise DefinitionError([problem])
        _given[str(reference)] = class_of(given)
        return spec_of_tried(given, str(reference))
    if isinstance(given, str | Job | ExperimentSpec):
        return given
    if isinstance(given, Mapping):
        return _checked(_OBJECTIVE, Job, given)
    if problems := problems_of(given):
        raise DefinitionError(problems)
    from metta.sweep.client.handovers import findable

    reference = reference_of(given)
    if is_importing_names():
        return str(reference)
    found = findable(reference, given)
    _given[found] = given
    return found


def _component(kind: str) -> Callable[[Any], Any]:
    def read(value: Any) -> ComponentSpec:
        if not isinstance(value, ComponentSpec | Mapping | str):
            made = spec_of(value, KINDS[kind])
            if getattr(value, "told_by_hand", ()):
                problem = "it was told observations by hand, which do not travel; let a sweep begin with them"
                raise DefinitionError([problem])
            return made
        written: ComponentSpec = _checked(_COMPONENT, ComponentSpec, value)
        known = KINDS[kind].registry
        if ":" not in written.type and written.type not in known:
            raise DefinitionError([f"unknown {kind} {written.type!r}{nearest(written.type, list(known))}"])
        return written

    return _told(read)


def _checked(adapter: TypeAdapter[Any], model: type[BaseModel], value: object) -> Any:
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise DefinitionError([*told(error, model)]) from None


def _space_json(space: SearchSpace | None) -> Any:
    return None if space is None else space.to_json()


ObjectiveField: TypeAlias = Annotated[AnyObjective | ExperimentSpec | None, PlainValidator(_told(_objective))]
"""A function, a reference, a program, or an experiment; kept by its reference."""

SpaceField: TypeAlias = Annotated[
    SearchSpace | Mapping[str, Distribution] | None,
    PlainValidator(_told(_space)),
    PlainSerializer(_space_json),
]
"""Distributions by name."""

OptimizerField: TypeAlias = Annotated[
    Optimizer | ComponentSpec | None, PlainValidator(_component("optimizer"))
]
SchedulerField: TypeAlias = Annotated[
    Scheduler | ComponentSpec | None, PlainValidator(_component("scheduler"))
]
ExecutorField: TypeAlias = Annotated[Executor | ComponentSpec | None, PlainValidator(_component("executor"))]


def tried(objective: Any) -> Any:
    """What a sweep takes for an objective that is kept in a field."""
    if isinstance(objective, ExperimentSpec):
        kind = _given.get(objective.experiment) or load(objective.experiment)
        return kind(**objective.fields) if objective.fields else kind
    return _given.get(objective, objective) if isinstance(objective, str) else objective


def space_in(optimizer: Any) -> SearchSpace | None:
    """The space that stands in an optimizer, in whatever form that is given; None when there is none.

    Raises:
        DefinitionError: When it is no optimizer, or no space.
    """
    if isinstance(optimizer, ComponentSpec | Mapping | str):
        space: Any = _checked(_COMPONENT, ComponentSpec, optimizer).options.get("search_space")
    else:
        space = getattr(optimizer, "search_space", None)
    return None if space is None else SearchSpace.of(space)
