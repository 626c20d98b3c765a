"""Errors on the wire: what the failure of a workflow tells besides its message, and the error again."""

from collections.abc import Sequence
from typing import Any

from metta.sweep.contracts.errors import (
    DefinitionChanged,
    DefinitionError,
    NameInUse,
    PipelineDefinitionError,
    Refused,
    SpaceError,
    StageFailed,
    SweepError,
)
from metta.sweep.contracts.models import Wire
from metta.sweep.contracts.plans import StageFailure


class Mistakes(Wire):
    """What a ``DefinitionError`` lists."""

    problems: tuple[str, ...]
    subject: str


_DEFINITIONS = {
    kind.__name__: kind
    for kind in (DefinitionError, SpaceError, NameInUse, DefinitionChanged, PipelineDefinitionError, Refused)
}


def details_of(error: BaseException) -> list[Wire]:
    """What is to be told of an error besides its message."""
    match error:
        case StageFailed():
            return [error.failure]
        case DefinitionError():
            return [Mistakes(problems=error.problems, subject=error.subject)]
    return []


def error_of(kind: str | None, details: Sequence[Any]) -> SweepError | None:
    """The error that was told of; None when it was another one.

    Args:
        kind: Name of its class.
        details: What ``details_of`` gave, as it came over the wire.
    """
    if not details:
        return None
    if kind == StageFailed.__name__:
        return StageFailed(StageFailure.model_validate(details[0]))
    if kind not in _DEFINITIONS:
        return None
    mistakes = Mistakes.model_validate(details[0])
    error = _DEFINITIONS[kind].__new__(_DEFINITIONS[kind])  # some make their sentences themselves
    DefinitionError.__init__(error, mistakes.problems, mistakes.subject)
    return error
