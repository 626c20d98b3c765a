"""Telling: trials and results in an optimizer's terms, and suggestions in those of the search."""

from pydantic import JsonValue

from metta.sweep.contracts.errors import DefinitionError, SpaceError, shown
from metta.sweep.contracts.events import Known
from metta.sweep.contracts.failures import Failure
from metta.sweep.contracts.models import json_ready
from metta.sweep.contracts.records import TrialRecord
from metta.sweep.contracts.spaces import SearchSpace
from metta.sweep.contracts.trials import Resources, Result, Trial

_UNREPORTED = Failure(kind="cancelled", message="it was stopped before its first report")


def trial_of(told: TrialRecord | Known, resources: Resources) -> Trial:
    """A trial as an optimizer sees it.

    Args:
        told: A trial of this sweep or of an earlier one.
        resources: What a trial of this sweep gets, unless the scheduler says otherwise.
    """
    if isinstance(told, Known):
        return Trial(told.params, told.trial, ended_at=told.ended_at)
    return Trial(
        told.params,
        told.number,
        told.seed,
        resources=told.resources or resources,
        ended_at=told.step if told.status in ("paused", "stopped") else None,
    )


def result_of(told: TrialRecord | Known, value: float | None, all_metrics: bool) -> Result:
    """What became of a trial.

    Args:
        told: The trial.
        value: Its last value of the metric that counts, or None.
        all_metrics: Whether the optimizer wants all numbers by name, and what the trial has cost.
    """
    if told.failure:
        return told.failure
    if value is None:
        return _UNREPORTED
    if not all_metrics:
        return value
    cost = {"cost": told.seconds} if told.seconds else {}
    return {**cost, **told.metrics}


def checked(suggestion: object, space: SearchSpace, optimizer: str) -> dict[str, JsonValue]:
    """Parameters that may go to training: an optimizer of the user's may suggest anything.

    Args:
        suggestion: What it suggested.
        space: Where it has to be.
        optimizer: What it is called in errors.

    Raises:
        DefinitionError: When it is no trial, or not in the space.
    """
    what = f"a suggestion of {optimizer}"
    if not isinstance(suggestion, Trial):
        raise DefinitionError([f"it has to be a Trial, got {shown(suggestion)}"], what)
    params: dict[str, JsonValue] = json_ready(suggestion.params)
    try:
        space.validate(params)
    except SpaceError as error:
        raise DefinitionError(error.problems, what) from None
    return params
