"""The environment of what goes on by itself: all that is wrong with it, told before anything is started."""

import os
from collections.abc import Callable, Iterator

from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.telemetry.endpoints import Endpoints
from metta.sweep.telemetry.log_settings import LogSettings
from metta.sweep.telemetry.tracing import interceptors


def check_environment(endpoints: Callable[[], object] = Endpoints.load) -> None:
    """See to it that workers and a server can do as the environment says.

    Args:
        endpoints: Reads where the worker can be looked at.

    Raises:
        DefinitionError: With every mistake.
    """
    errors = [*telemetry_mistakes(endpoints)]
    if problem := idle_problem():
        errors.append(DefinitionError([problem], "the environment"))
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise DefinitionError([each for error in errors for each in error.problems], "the environment")


def telemetry_mistakes(endpoints: Callable[[], object] = Endpoints.load) -> Iterator[DefinitionError]:
    """What is wrong with what is said of logs, traces and endpoints."""
    for read in (LogSettings.load, interceptors, endpoints):
        try:
            read()
        except DefinitionError as error:
            yield error


def idle_problem() -> str:
    """What is wrong with METTA_SWEEP_IDLE_S, which the minder could only pass over; empty when nothing is."""
    said = os.environ.get("METTA_SWEEP_IDLE_S", "0")
    try:
        is_time = float(said) >= 0  # which what is no number is not
    except ValueError:
        is_time = False
    return "" if is_time else f"METTA_SWEEP_IDLE_S has to be a number of seconds, got {said!r}"
