"""The local executor: persistent runner processes on the machine of the worker."""

import os

from metta.sweep.contracts.components import count_problems
from metta.sweep.contracts.distributions import is_number
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.executors.base import Executor


class LocalExecutor(Executor):
    """Runs trials in processes of this machine, each in a process of its own at any time.

    Args:
        max_parallel: Trials that may run at the same time; None means one for each core.
        max_trials_per_process: So many trials a process runs before a new one takes its place;
            None means no limit. Helps against training code that leaks memory.
        timeout: Longest run of one attempt in seconds, unless the sweep says another one.
    """

    def __init__(
        self,
        max_parallel: int | None = None,
        max_trials_per_process: int | None = None,
        timeout: float | None = None,
    ) -> None:
        problems = count_problems(max_parallel=max_parallel, max_trials_per_process=max_trials_per_process)
        if timeout is not None and not (is_number(timeout) and timeout > 0):
            problems.append(f"timeout has to be a positive number of seconds, got {timeout!r}")
        if problems:
            raise DefinitionError(problems, type(self).__name__)
        self.max_parallel = max_parallel or len(os.sched_getaffinity(0))
        self.max_trials_per_process = max_trials_per_process
        self.timeout = timeout
