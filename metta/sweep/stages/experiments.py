"""Experiments in a stage process: from a reference to a definition."""

from pathlib import Path
from typing import Any

from metta.sweep.contracts.components import load
from metta.sweep.contracts.errors import DefinitionError, shown
from metta.sweep.contracts.experiments import ExperimentSpec
from metta.sweep.contracts.importing import importing
from metta.sweep.contracts.references import Reference
from metta.sweep.pipeline.builder import Pipeline
from metta.sweep.pipeline.planning import Definition
from metta.sweep.stores.files import FileStore


def definition_of(spec: ExperimentSpec, store: FileStore) -> Definition:
    """The definition of an experiment.

    Args:
        spec: A class with a method ``pipeline``, or a pipeline.
        store: Where it lies when it was sent by value.

    Raises:
        DefinitionError: When it cannot be loaded, or does not fit together.
    """
    reference = Reference.parse(spec.experiment)
    is_value = reference.kind == "value"
    found = _by_value(store.value_path(reference.target)) if is_value else load(spec.experiment)
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


def _by_value(path: Path) -> Any:
    import cloudpickle  # 10 ms that others need not pay

    try:
        with importing():
            return cloudpickle.loads(path.read_bytes())
    except Exception as error:  # unpickling runs user code, which may raise anything
        problem = f"what was sent by value cannot be loaded: {type(error).__name__}: {error}"
        raise DefinitionError([problem], "the experiment") from error
