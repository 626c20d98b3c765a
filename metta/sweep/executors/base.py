"""What every executor is: a description of where trials run."""

from abc import ABC
from collections.abc import Mapping
from typing import ClassVar

from metta.sweep.contracts.components import Configured
from metta.sweep.executors.registry import EXECUTORS


class Executor(Configured, ABC):
    """Says where trials run, and how many at the same time.

    Args:
        max_parallel: Trials that may run at the same time.
    """

    registry: ClassVar[Mapping[str, str]] = EXECUTORS
    max_parallel: int = 1
