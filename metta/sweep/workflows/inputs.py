"""Inputs: what people send to workflows, read from plain JSON."""

from typing import TypeVar

from pydantic import JsonValue, ValidationError
from temporalio import workflow

from metta.sweep.contracts.errors import DefinitionError, SweepError
from metta.sweep.contracts.models import Wire, Written, problems_of

WireT = TypeVar("WireT", bound=Wire)
WrittenT = TypeVar("WrittenT", bound=Written)


def only(given: tuple[JsonValue, ...], subject: str) -> JsonValue:
    """The one value that was sent.

    Raises:
        DefinitionError: When there is none, or more than one.
    """
    if len(given) != 1:
        raise DefinitionError([f"it has to be one JSON value, got {len(given) or 'none'}"], subject)
    return given[0]


def signalled(model: type[WireT], given: tuple[JsonValue, ...], subject: str) -> WireT | None:
    """What a signal brings; None when it is nothing of the kind, for nobody waits for an answer."""
    try:
        return model.model_validate(only(given, subject))
    except (SweepError, ValidationError) as error:
        workflow.logger.warning("%s is not understood: %s", subject, error)
        return None


def input_from(model: type[WrittenT], given: tuple[JsonValue, ...]) -> WrittenT:
    """The input of a workflow.

    Raises:
        DefinitionError: With every mistake in it.
    """
    try:
        return model.model_validate(only(given, model.subject))
    except ValidationError as error:
        raise DefinitionError(list(problems_of(error, model)), model.subject) from None
