"""Retries: what is asked of a process that has an experiment's code, before the experiment is begun again."""

from pathlib import Path

from metta.sweep.contracts.attempts import Code
from metta.sweep.contracts.models import Wire
from metta.sweep.contracts.raised import Mistakes


class RetryQuestion(Wire):
    """Whether an experiment can be begun again.

    Args:
        name: Its name.
        stage: From which stage on it is to be run again; empty where it has come to.
        code: Where its code is found.
        store: Address of the artifact store.
        home: Folder of this machine, for what it works with.
    """

    name: str
    stage: str
    code: Code
    store: str
    home: Path


class RetryAnswer(Wire):
    """Whether it can.

    Args:
        stage: The stage in full, with the turns of the loops around it.
        error: Class of the error that says why it cannot; empty when it can.
        mistakes: What that lists.
    """

    stage: str = ""
    error: str = ""
    mistakes: Mistakes | None = None
