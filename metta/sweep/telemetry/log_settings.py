"""Settings of logs: their format, and which lines they have."""

import os
from typing import NamedTuple

from metta.sweep.contracts.errors import DefinitionError

FORMAT = "METTA_SWEEP_LOG"
LEVEL = "METTA_SWEEP_LOG_LEVEL"
FORMATS = ("text", "json")
LEVELS = ("debug", "info", "warning", "error")


class LogSettings(NamedTuple):
    """What ``METTA_SWEEP_LOG`` and ``METTA_SWEEP_LOG_LEVEL`` say.

    Args:
        format: One of ``FORMATS``.
        level: One of ``LEVELS``.
    """

    format: str
    level: str

    @classmethod
    def load(cls) -> "LogSettings":
        """What the environment says.

        Raises:
            DefinitionError: When one of the two is none of those that there are.
        """
        given = cls(os.environ.get(FORMAT) or "text", os.environ.get(LEVEL) or "info")
        problems = [
            f"{name} has to be one of {', '.join(known)}, got {got!r}"
            for name, got, known in ((FORMAT, given.format, FORMATS), (LEVEL, given.level, LEVELS))
            if got.lower() not in known
        ]
        if problems:
            raise DefinitionError(problems, "the environment")
        return cls(given.format.lower(), given.level.lower())
