"""Experiments in a stage process: from a reference to a definition."""

from typing import Any

from metta.sweep.contracts.components import load
from metta.sweep.contracts.errors import DefinitionError, shown
from metta.sweep.contracts.experiments import ExperimentSpec
from metta.sweep.contracts.importing import importing
from metta.sweep.contracts.references import Reference
from metta.sweep.pipeline.builder import Pipeline
from metta.sweep.pipeline.planning import Definition
from metta.sweep.runners.objective import by_value
from metta.sweep.stores.base import Store


def definition_of(spec: ExperimentSpec, store: Store) -> Definition:
    """The definition of an experiment.

    Args:
        spec: A class with a method ``pipeline``, or a pipeline.
        store: Where it lies when it was sent by value.

    Raises:
        DefinitionError: When it cannot be loaded, or does not fit together.
    """
    reference = Reference.parse(spec.experiment)
    value = store.value_path(reference.target) if reference.kind == "value" else None
    found = by_value(value, "the experiment") if value else load(spec.experiment)
    pipeline = _pipeline_of(found, spec)
    if not isinstance(pipeline, Pipeline):
        problem = f"{reference.name} has to be an Experiment or a Pipeline, got {shown(pipeline)}"
        raise DefinitionError([problem], "the experiment")
    return pipeline.definition


def _pipeline_of(found: Any, spec: ExperimentSpec) -> Any:
    if not isinstance(found, type) or not hasattr(found, "pipeline"):
        if spec.fields:
            problem = f"a pipeline has no fields, got {', '.join(spec.fields)}"
            raise DefinitionError([problem], "the experiment")
        return found
    try:
        with importing("experiment"):  # a run() that is met here is not to run, but what it runs is checked
            return found(**spec.fields).pipeline()
    except DefinitionError:
        raise
    except Exception as error:  # it is the user's code
        problem = f"pipeline() raised {type(error).__name__}: {error}"
        raise DefinitionError([problem], f"the experiment {found.__name__}") from error
