"""Experiments as objectives: each trial sets some of their fields."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias, TypeGuard

from metta.sweep.contracts.components import ComponentSpec, create, load
from metta.sweep.contracts.defaults import is_in_script
from metta.sweep.contracts.errors import BadMetric, DefinitionError, nearest
from metta.sweep.contracts.experiments import ExperimentSpec
from metta.sweep.contracts.references import Reference
from metta.sweep.contracts.values import Value
from metta.sweep.experiments.experiment import Experiment, field_names
from metta.sweep.pipeline.builder import Pipeline
from metta.sweep.pipeline.keeping import packer_for
from metta.sweep.pipeline.numbers import metrics_of
from metta.sweep.pipeline.packing import Hashes, Unpackable
from metta.sweep.schedulers.base import Scheduler

Tried: TypeAlias = Experiment | type[Experiment]
"""An experiment, whose fields hold where a trial does not set them; or its class."""

WRAP = "give an Experiment, whose fields the parameters are"


def is_tried(objective: object) -> TypeGuard[Tried]:
    """Whether it is an experiment, or the class of one."""
    is_class = isinstance(objective, type) and issubclass(objective, Experiment)
    return is_class or isinstance(objective, Experiment)


def resolved(objective: Any) -> Any:
    """An objective; an experiment stands in place of its name, where a module has it."""
    if not isinstance(objective, str):
        return objective
    try:
        found = load(objective) if Reference.parse(objective).kind == "module" else None
    except DefinitionError:  # which is told along with the other mistakes
        return objective
    return found if is_tried(found) or _is_other(found) else objective


def class_of(objective: Tried) -> type[Experiment]:
    """The class of an experiment."""
    return objective if isinstance(objective, type) else type(objective)


def spec_of_tried(objective: Tried, reference: str) -> ExperimentSpec:
    """An experiment as plain data.

    Args:
        objective: The experiment, or its class.
        reference: What other processes find the class by.
    """
    fields = objective.fields if isinstance(objective, Experiment) else {}
    return ExperimentSpec(experiment=reference, fields=fields)


def problems_of_tried(objective: object) -> Iterator[str] | None:
    """What keeps an experiment from being an objective; None when it is something else altogether."""
    if is_tried(objective):
        return _problems(objective)
    if isinstance(objective, Pipeline):
        return iter([f"objective is a pipeline, which has no fields for parameters: {WRAP}"])
    if _is_other(objective):
        return iter([f"objective is a sweep; {WRAP}, and let the sweep be one of its stages"])
    return None


def problems_of_search(objective: Tried, space: object, scheduler: object) -> Iterator[str]:
    """What keeps parameters from being fields of an experiment, and a scheduler from deciding about it.

    Args:
        objective: The experiment, or its class.
        space: Distributions by name of the parameter.
        scheduler: The scheduler, or what makes it.
    """
    kind, searched = class_of(objective), list(space) if isinstance(space, Mapping) else []
    try:
        known = field_names(kind)
    except DefinitionError:  # which is told along with those of the objective
        return
    for name in searched:
        if name not in known:
            yield f"search_space: {name} is no field of {kind.__name__}{nearest(str(name), list(known))}"
    if isinstance(objective, type):
        open_fields = (name for name, is_required in known.items() if is_required and name not in searched)
        for name in open_fields:
            yield (
                f"objective: {kind.__name__} needs {name}, which is neither set nor searched;"
                f" give {kind.__name__}({name}=...), or a distribution for it"
            )
    if _needs_reports(scheduler):
        yield (
            "scheduler decides by what trials report while they run, and an experiment has a result only at"
            " its end; leave scheduler out, or take SynchronousBatchScheduler()"
        )


def locally(objective: Tried, metric: str | None) -> Callable[[dict[str, Any]], Any]:
    """A function of a trial's parameters that runs an experiment in this process, for its metrics.

    Args:
        objective: The experiment, or its class.
        metric: The metric that counts; None when that is not said.
    """
    fields = objective.fields if isinstance(objective, Experiment) else {}

    def run(params: dict[str, Any]) -> dict[str, float] | None:
        experiment = class_of(objective)(**{**fields, **params})
        packer = packer_for(experiment.checked().definition, Hashes(), pickle=False)
        try:
            given = packer.pack(experiment.run_local())
        except Unpackable as error:
            raise BadMetric(str(error)) from error
        return metrics_of(Value(packed=given), metric, packer)

    return run


def _problems(objective: Tried) -> Iterator[str]:
    kind = class_of(objective)
    try:
        field_names(kind)
        if kind.pipeline is Experiment.pipeline:
            yield (
                f"objective: {kind.__name__} does not define pipeline; write `def pipeline(self) -> Pipeline`"
            )
        elif isinstance(objective, Experiment):
            objective.checked()
    except DefinitionError as error:
        yield from (f"objective: {problem}" for problem in error.problems)


def _is_other(objective: object) -> bool:
    """Whether it is something that runs, and can be no objective all the same."""
    return isinstance(objective, Pipeline) or getattr(objective, "child_workflow", None) == "Sweep"


def _needs_reports(scheduler: object) -> bool:
    if isinstance(scheduler, ComponentSpec):
        # what a script defines is imported where it runs, and not here
        made = None if is_in_script(scheduler.type) else _made(scheduler)
        return made is not None and made.needs_reports
    return isinstance(scheduler, Scheduler) and scheduler.needs_reports


def _made(scheduler: ComponentSpec) -> Scheduler | None:
    try:
        return create(Scheduler, scheduler)
    except DefinitionError:  # which is told where the defaults of the project are read
        return None
