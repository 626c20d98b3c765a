"""Failures: what an exception of the training code says of its attempt."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from traceback import StackSummary, TracebackException, format_exception_only

from metta.sweep.contracts.errors import BadMetric, Infeasible
from metta.sweep.contracts.failures import NO_ROOM, FailureKind

MESSAGE_CHARS = 2000
TRACEBACK_CHARS = 8000

MACHINERY = (f"{Path(__file__).parents[1]}{os.sep}", f"{Path(os.__file__).with_name('asyncio')}{os.sep}")
"""Folders of the code that stands between a runner and the user's code."""


def failure_of(error: BaseException) -> tuple[FailureKind, str, str]:
    """Kind, message and traceback of an exception that an objective raised."""
    errors = list(_alone(error))
    for one in errors:
        if isinstance(one, Infeasible):
            return "infeasible", _message(str(one) or "infeasible"), ""
        if isinstance(one, BadMetric):
            return "bad_metric", _message(str(one)), _traceback(error)
    lines = ("".join(format_exception_only(one)).strip() for one in errors)
    return _kind(errors), _message("; ".join(lines)), _traceback(error)


def _kind(errors: Iterable[BaseException]) -> FailureKind:
    for one in errors:
        if isinstance(one, MemoryError):
            return "oom"
        if isinstance(one, OSError) and one.errno in NO_ROOM:  # a checkpoint did not fit on the disk
            return "infra"
    return "user"


def _alone(error: BaseException) -> Iterator[BaseException]:
    """An exception itself, or those that a group of exceptions holds."""
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from _alone(member)
    else:
        yield error


def _message(text: str) -> str:
    return _plain(text if len(text) <= MESSAGE_CHARS else f"{text[:MESSAGE_CHARS]}...")


def _traceback(error: BaseException) -> str:
    """The traceback without the frames of the machinery; empty when none is left."""
    told = TracebackException.from_exception(error, compact=True)
    parts = list(_parts(told))
    for part in parts:
        theirs = (frame for frame in part.stack if not frame.filename.startswith(MACHINERY))
        part.stack = StackSummary.from_list(theirs)
    return _plain("".join(told.format()))[-TRACEBACK_CHARS:] if any(part.stack for part in parts) else ""


def _parts(told: TracebackException) -> Iterator[TracebackException]:
    """A traceback, and those of its causes and members."""
    yield told
    for part in (told.__cause__, told.__context__, *(told.exceptions or ())):
        if part:
            yield from _parts(part)


def _plain(text: str) -> str:
    """Text that can be recorded: a file name may hide bytes in it that no encoding knows."""
    return text.encode(errors="replace").decode()
