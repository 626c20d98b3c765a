"""Objectives as plain data: a reference to a function, a program, or an experiment."""

from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Discriminator, JsonValue, Tag

from metta.sweep.contracts.experiments import ExperimentSpec
from metta.sweep.contracts.jobs import PYTHON, Job, objective_from
from metta.sweep.contracts.references import Reference

FIELDS_BYTES = 50_000
"""So large an experiment's fields may be: they are sent along with each trial, and many begin at once."""


def _sized(objective: Any) -> Any:
    if isinstance(objective, ExperimentSpec):
        size = len(objective.model_dump_json())
        if size > FIELDS_BYTES:
            raise ValueError(
                f"its fields have {size:,} bytes, and are sent along with each trial, where {FIELDS_BYTES:,}"
                " are allowed: put what is large into a file, and give its path"
            )
    return objective


def _tag(data: Any) -> str:
    if isinstance(data, ExperimentSpec) or (isinstance(data, dict) and {"experiment", "fields"} & {*data}):
        return "<experiment>"
    return "<job>" if isinstance(data, Job | dict) else "<function>"


ObjectiveSpec: TypeAlias = Annotated[
    Annotated[str, Tag("<function>")]
    | Annotated[Job, Tag("<job>")]
    | Annotated[ExperimentSpec, Tag("<experiment>")],
    Discriminator(_tag),
    BeforeValidator(objective_from),
    AfterValidator(_sized),
]
"""What is tried."""


def name_of(objective: ObjectiveSpec) -> str:
    """An objective for people.

    >>> name_of(ExperimentSpec(experiment="digits.refining:Refine"))
    'Refine'
    """
    if isinstance(objective, Job):
        return " ".join(objective.command).replace(f"{PYTHON} ", "")
    return Reference.parse(reference_in(objective) or "").name


def reference_in(objective: ObjectiveSpec) -> str | None:
    """What names the code of an objective; None for a program."""
    if isinstance(objective, Job):
        return None
    return objective if isinstance(objective, str) else objective.experiment


def renamed(objective: ObjectiveSpec, reference: str) -> ObjectiveSpec:
    """The same objective, whose code is named otherwise."""
    if isinstance(objective, ExperimentSpec):
        return objective.model_copy(update={"experiment": reference})
    return reference


def definition_of(objective: ObjectiveSpec) -> JsonValue:
    """What stays the same when an objective's code is edited or its project is moved.

    >>> definition_of(ExperimentSpec(experiment="tasks/refining.py:Refine", fields={"rows": 40}))
    {'experiment': 'refining.py:Refine', 'fields': {'rows': 40}}
    """
    match objective:
        case Job():
            return list(objective.command)
        case ExperimentSpec():
            definition = Reference.parse(objective.experiment).definition
            return {"experiment": definition, "fields": objective.fields}
        case _:
            return Reference.parse(objective).definition
