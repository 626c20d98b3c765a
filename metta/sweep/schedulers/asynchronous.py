"""The asynchronous scheduler: a slot that becomes free is filled at once."""

from typing import ClassVar

from metta.sweep.schedulers.base import Scheduler


class AsynchronousScheduler(Scheduler):
    """Starts a new trial whenever a slot is free, and lets every trial run to its own end.

    Args:
        max_parallel: Trials that may run at the same time; None leaves it to the executor.
    """

    result_blind: ClassVar[bool] = True
