"""Experiments in a stage process: from a reference to a definition."""

from typing import Any, NamedTuple

from metta.sweep.contracts.components import load
from metta.sweep.contracts.defaults import travelled
from metta.sweep.contracts.errors import DefinitionError, shown
from metta.sweep.contracts.experiments import ExperimentSpec
from metta.sweep.contracts.importing import importing
from metta.sweep.contracts.references import Reference
from metta.sweep.pipeline.builder import Pipeline, with_late_methods
from metta.sweep.pipeline.planning import Definition
from metta.sweep.pipeline.state import State, state_of
from metta.sweep.runners.objective import by_value
from metta.sweep.stores.base import Store


class Loaded(NamedTuple):
    """An experiment as it was loaded.

    Args:
        definition: Its pipeline.
        state: Its fields; None when it is a bare pipeline.
    """

    definition: Definition
    state: State | None


def loaded(spec: ExperimentSpec, store: Store) -> Loaded:
    """An experiment.

    Args:
        spec: A class with a method ``pipeline``, or a pipeline.
        store: Where it lies when it was sent by value.

    Raises:
        DefinitionError: When it cannot be loaded, or does not fit together.
    """
    reference = Reference.parse(spec.experiment)
    value = store.value_path(reference.target) if reference.kind == "value" else None
    with travelled(spec.defaults):  # which the experiment may take for what it does not say itself
        found = by_value(value, "the experiment") if value else load(spec.experiment)
        experiment, pipeline = _pipeline_of(found, spec)
    if not isinstance(pipeline, Pipeline):
        problem = f"{reference.name} has to be an Experiment or a Pipeline, got {shown(pipeline)}"
        raise DefinitionError([problem], "the experiment")
    return Loaded(pipeline.definition, state_of(experiment))


def loaded_again(spec: ExperimentSpec, store: Store) -> Loaded:
    """An experiment that is recorded, with its code of now.

    Args:
        spec: What is recorded of it.
        store: Where it lies when it was sent by value.

    Raises:
        DefinitionError: When it cannot be loaded, does not fit together, or has lost a recorded field.
    """
    try:
        return loaded(spec, store)
    except DefinitionError as error:
        raise DefinitionError([_as_recorded(each, spec) for each in error.problems], error.subject) from error


def _as_recorded(problem: str, spec: ExperimentSpec) -> str:
    """What nobody has written who reads it is told as what it is."""
    for name in spec.fields:
        if problem.startswith(f"{name} is unknown"):
            return (
                f"{name} is a recorded field of this run, and no field of its class any more: give it back,"
                " or run the experiment under another name"
            )
    return problem


def _pipeline_of(found: Any, spec: ExperimentSpec) -> tuple[Any, Any]:
    """The experiment, and its pipeline."""
    if not isinstance(found, type) or not hasattr(found, "pipeline"):
        if spec.fields:
            problem = f"a pipeline has no fields, got {', '.join(spec.fields)}"
            raise DefinitionError([problem], "the experiment")
        return None, found
    try:
        with importing("experiment"):  # a run() that is met here is not to run, but what it runs is checked
            experiment = found(**spec.fields)
            pipeline = experiment.pipeline()
            is_one = isinstance(pipeline, Pipeline)
            return experiment, with_late_methods(pipeline, experiment) if is_one else pipeline
    except DefinitionError:
        raise
    except Exception as error:  # it is the user's code
        problem = f"pipeline() raised {type(error).__name__}: {error}"
        raise DefinitionError([problem], f"the experiment {found.__name__}") from error
