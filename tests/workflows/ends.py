"""How an experiment ends, on the engine and in this process, in a form in which the two can be compared."""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import JsonValue
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError

from metta.sweep.contracts.errors import StageFailed
from metta.sweep.contracts.experiments import ExperimentResult
from metta.sweep.contracts.outcomes import StageEnded
from metta.sweep.contracts.plans import Outcome, Profile, StageFailure
from metta.sweep.contracts.shelves import Folder, Shelf
from metta.sweep.experiments.base import Experiment
from metta.sweep.pipeline.local import run_local
from metta.sweep.pipeline.packing import Packer
from metta.sweep.stages.shelves import StoreShelf
from metta.sweep.stores.data import DataStore
from tests.rig import Handle, Rig


class End(NamedTuple):
    """How an experiment ended.

    Args:
        value: What its last stage gave; None when a stage failed.
        failure: Why that failed.
        outcomes: How each stage ended; left out when one failed.
        stored: What the stages left in the store, by key.
    """

    value: Any = None
    failure: StageFailure | None = None
    outcomes: Mapping[str, Outcome] = {}
    stored: Mapping[str, bytes | None] = {}


async def engine_end(rig: Rig, experiment: Experiment, input: JsonValue) -> End:
    """How an experiment ends that any Temporal client starts, with plain JSON."""
    return await ended(rig, experiment, await started(rig, experiment, input))


async def started(rig: Rig, experiment: Experiment, input: JsonValue) -> Handle:
    """Start an experiment under a name of its own."""
    kind, name = type(experiment), f"experiment-{os.urandom(4).hex()}"
    spec = {"experiment": f"{kind.__module__}:{kind.__name__}", "fields": experiment.fields, "input": input}
    return await rig.client.start_workflow("Experiment", spec, id=name, task_queue=rig.queue)


async def ended(rig: Rig, experiment: Experiment, handle: Handle) -> End:
    """How it ends that was started."""
    try:
        result = ExperimentResult.model_validate(await handle.result())
    except WorkflowFailureError as error:
        return End(failure=_failure_of(error))
    packer = Packer(DataStore(rig.store.root), pickle=False, classes=experiment.pipeline().definition.classes)
    entries = [e for e in rig.store.outcome_log(handle.id).entries() if isinstance(e, StageEnded)]
    shelf = StoreShelf(rig.store, handle.id)
    return _end(packer.unkept(result.value), {str(entry.at): entry.outcome for entry in entries}, shelf)


def local_end(experiment: Experiment, input: JsonValue, folder: Folder) -> End:
    """How it ends in this process."""
    definition = experiment.pipeline().definition
    try:
        run = run_local(definition, definition.input_from(input), folder)
    except StageFailed as error:
        return End(failure=error.failure)
    return _end(run.value, run.outcomes, folder)


def _failure_of(error: WorkflowFailureError) -> StageFailure:
    assert isinstance(error.cause, ApplicationError)
    assert error.cause.type == "StageFailed", error.cause
    failure = StageFailure.model_validate(error.cause.details[0])
    return failure.model_copy(update={"error": None})  # here it is the cause of what is raised


def _end(value: Any, outcomes: Mapping[str, Outcome], shelf: Shelf) -> End:
    keys = [key for outcome in outcomes.values() for key in outcome.written]
    timeless = {at: _timeless(outcome) for at, outcome in outcomes.items()}
    return End(value, None, timeless, {key: shelf.read(key) for key in keys})


def _timeless(outcome: Outcome) -> Outcome:
    """An outcome without what differs from run to run."""
    if (profile := outcome.profile) is None:
        return outcome
    report = "in full" if profile.report else ""
    same = Profile(wall_s=0, cpu_s=0, peak_bytes=0, report=report)
    return outcome.model_copy(update={"profile": same})
