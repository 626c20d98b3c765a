"""Errors of stages, told to a process that did not see them."""

import builtins
import logging
from collections.abc import Callable
from typing import Any

from metta.sweep.contracts.errors import StageFailed
from metta.sweep.contracts.plans import StageFailure
from metta.sweep.contracts.values import Value
from metta.sweep.pipeline.packing import Packer
from metta.sweep.pipeline.unpacking import Misread

log = logging.getLogger(__name__)

_CLASSES: dict[str, type[Exception]] = {"oom": MemoryError, "timeout": TimeoutError}


def kept_error(error: BaseException | None, kept: Callable[[Any], Value]) -> Value | None:
    """An exception as a value; None when it cannot be kept.

    Python's own are kept by their arguments, so that they need no consent to be pickled.

    Args:
        error: The exception.
        kept: Makes a value travel.
    """
    if error is None:
        return None
    form = (type(error).__name__, error.args) if type(error).__module__ == "builtins" else error
    try:
        return kept(form)
    except Exception as refusal:  # pickling runs the code of its class
        log.info("what the stage raised cannot be sent to its on_error: %s", refusal)
        return None


def raised_again(failure: StageFailure, packer: Packer) -> StageFailed:
    """A failure as it was raised in another process.

    Its cause is what the stage raised where that could be kept, else an exception that says of it what is
    known.
    """
    raised = StageFailed(failure)
    if failure.error is not None:
        raised.__cause__ = _error_from(packer.unkept(failure.error))
    elif kind := _CLASSES.get(failure.kind):
        raised.__cause__ = kind(failure.message)
    return raised


def _error_from(kept: Any) -> BaseException:
    if isinstance(kept, BaseException):
        return kept
    name, arguments = kept
    kind = getattr(builtins, name, None)
    if not (isinstance(kind, type) and issubclass(kind, BaseException)):  # nothing else is ever called
        raise Misread(f"what was packed cannot be read: {name!r:.80} is no exception of Python's own")
    return kind(*arguments)
