"""Runs of experiments and pipelines."""

from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from pydantic import JsonValue

from metta.sweep.contracts.budgets import Budget, SharedBudget, limits_of
from metta.sweep.contracts.errors import DefinitionError, DefinitionReached, shown
from metta.sweep.contracts.experiments import ExperimentInput
from metta.sweep.contracts.importing import is_importing
from metta.sweep.contracts.names import generated_name, name_problem
from metta.sweep.contracts.nesting import (
    Nesting,
    Pending,
    Wanted,
    check_no_queue,
    check_outside,
    is_in_loop,
    nesting,
)
from metta.sweep.contracts.references import Reference
from metta.sweep.contracts.values import Value
from metta.sweep.experiments.defaults import configured
from metta.sweep.experiments.experiment import Experiment
from metta.sweep.experiments.references import CLIENT, reference_of, reference_of_variable
from metta.sweep.pipeline.builder import Pipeline

if TYPE_CHECKING:
    from metta.sweep.client.experiment_handle import ExperimentHandle
    from metta.sweep.client.experiments import Defined

Runnable: TypeAlias = Experiment | Pipeline[Any]

_referred: dict[Reference, object] = {}
"""What variables were bound to when they were first run: that is what other processes find there."""


class _Subject(NamedTuple):
    """What is run, as other processes find it."""

    pipeline: Pipeline[Any]
    reference: Reference
    fields: dict[str, JsonValue]
    code: Any


def run(
    this: Runnable,
    input: Any,
    *,
    budget: Budget | int | None,
    name: str | None,
    resume: bool,
    debug: bool,
    queue: str | None,
) -> Any:
    """What ``run`` of an experiment or pipeline does."""
    _only_defined(this, input=input, budget=budget, name=name, resume=resume, debug=debug, queue=queue)
    if debug and budget is not None:
        problem = (
            f"nobody divides a budget in a run in this process; leave it or debug out, got {shown(budget)}"
        )
        raise DefinitionError([problem], "the budget")
    if debug:
        return this.run_local(input)
    if place := nesting():
        check_no_queue(queue)
        return _nested(this, input, limits_of(budget, SharedBudget), name, place)
    from metta.sweep.client.following import followed_experiment

    handle = start(this, input, budget=budget, name=name, resume=resume, queue=queue)
    return handle.value_of(followed_experiment(handle))


def start(
    this: Runnable,
    input: Any,
    *,
    budget: Budget | int | None,
    name: str | None,
    resume: bool,
    queue: str | None,
) -> "ExperimentHandle":
    """What ``start`` of an experiment or pipeline does."""
    _only_defined(this, input=input, budget=budget, name=name, resume=resume, queue=queue)
    check_outside(type(this).__name__)
    limits = limits_of(budget, SharedBudget)
    subject = _subject_of(this)
    if name is not None and (problem := name_problem(name)):
        raise DefinitionError([problem], "the experiment")
    from metta.sweep.client.experiments import Experiments

    return Experiments().start(
        name or generated_name(),
        ExperimentInput(
            experiment=str(subject.reference),
            fields=subject.fields,
            defaults=configured(),
            budget=limits,
            resume=resume,
            client=CLIENT,
        ),
        input=input,
        code=subject.code if subject.reference.kind == "value" else None,
        pipeline=subject.pipeline.definition,
        structure=subject.pipeline.describe().splitlines(),
        queue=queue,
    )


def attach(name: str, defined: "Defined | None") -> "ExperimentHandle":
    """What ``attach`` of an experiment or pipeline does."""
    if is_importing():
        raise DefinitionReached(None, {"name": name})
    from metta.sweep.client.experiments import Experiments

    return Experiments().attach(name, defined)


def _nested(this: Runnable, input: Any, budget: SharedBudget, name: str | None, place: Nesting) -> Any:
    """Run as a part of the experiment whose stage asks for it: in an async stage something to await."""
    subject = _subject_of(this)
    if name is not None and (problem := name_problem(name)):
        raise DefinitionError([problem], "the experiment")
    begun = place.begun(
        Wanted(
            name=name,
            kind=subject.reference.name,
            workflow="Experiment",
            given=input,
            definition=subject.pipeline.definition,
            input=partial(_input, subject, budget=budget),
            summary=repr(this) if isinstance(this, Experiment) else subject.reference.name,
            here=lambda: this.run_local(input),
        )
    )
    return Pending(begun) if is_in_loop() else begun.waited()


def child_input(this: Experiment, given: Value) -> dict[str, JsonValue]:
    """Input of the workflow that runs an experiment as a stage."""
    return _input(_subject_of(this), given)


def _input(
    subject: _Subject, given: Value | None, budget: SharedBudget | None = None
) -> dict[str, JsonValue]:
    from metta.sweep.client.handovers import findable

    reference = findable(subject.reference, subject.code)
    made = ExperimentInput(
        experiment=reference,
        fields=subject.fields,
        defaults=configured(),
        given=given,
        budget=budget or SharedBudget(),
        resume=True,
        client=CLIENT,
    )
    return made.model_dump(mode="json", exclude_defaults=True)


def _subject_of(this: Runnable) -> _Subject:
    if isinstance(this, Experiment):
        return _Subject(this.checked(), reference_of(type(this)), this.fields, type(this))
    this.plan()
    return _Subject(this, _reference_of_pipeline(this), {}, _without_checks(this))


def _reference_of_pipeline(pipeline: Pipeline[Any]) -> Reference:
    found = reference_of_variable(pipeline)
    if found is None or _referred.setdefault(found, pipeline) is not pipeline:
        return Reference("value", "", "pipeline")
    return found


def _without_checks(pipeline: Pipeline[Any]) -> Pipeline[Any]:
    """The calls alone: what was found out about them need not travel."""
    plain = copy(pipeline)
    plain.__dict__.pop("definition", None)
    return plain


def _only_defined(this: Runnable, **options: object) -> None:
    """End the import of the script here, when all that is wanted is what it defines."""
    if is_importing():
        given = {name: value for name, value in options.items() if value is not None and value is not False}
        raise DefinitionReached(this, given)
