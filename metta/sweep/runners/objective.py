"""Objectives in a runner: the environment they expect, and how they are loaded."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from metta.sweep.contracts.attempts import Code
from metta.sweep.contracts.components import load
from metta.sweep.contracts.consent import check_value, consent_for_good
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.importing import importing
from metta.sweep.contracts.objectives import caller_of
from metta.sweep.contracts.trials import Trial


def enter(code: Code) -> None:
    """Make this process look as if the user had started the program here, and hold its worker's consent."""
    consent_for_good(code.consent)
    if code.cwd is not None:
        os.chdir(code.cwd)
    if code.argv:
        sys.argv = list(code.argv)
    sys.path[:0] = [entry for entry in code.path if entry not in sys.path]


def loaded(code: Code) -> Callable[[Trial], Any]:
    """The objective, ready to be called with a trial.

    Raises:
        DefinitionError: When it cannot be loaded or called, with the reason.
    """
    found = by_value(Path(code.value), "the objective") if code.value else load(code.objective)
    return caller_of(found)


def by_value(path: Path, subject: str) -> Any:
    """What was sent by value.

    Args:
        path: Its file.
        subject: What it is called in errors.

    Raises:
        DefinitionError: When it cannot be loaded, with the reason.
        Refused: When this worker does not consent to that.
    """
    check_value(subject)
    import cloudpickle  # 10 ms that other processes need not pay

    try:
        with importing():
            return cloudpickle.loads(path.read_bytes())
    except Exception as error:  # unpickling runs user code, which may raise anything
        problem = f"what was sent by value cannot be loaded: {type(error).__name__}: {error}"
        raise DefinitionError([problem], subject) from error
