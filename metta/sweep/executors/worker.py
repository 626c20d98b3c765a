"""The worker executor: Python objectives on any worker that serves a queue of trials."""

from metta.sweep.contracts.components import count_problems
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.executors.base import Executor


class WorkerExecutor(Executor):
    """Runs trials in processes of the workers that serve a task queue: more workers, more slots.

    Each worker takes as many trials as it has slots; the others wait in the queue. A worker that dies is
    missed after ten seconds, and its trials go on from their last checkpoints on other workers. All workers
    have to see the artifact store and the objective's code.

    Args:
        max_parallel: Trials that may be in the queue or run at the same time.
        queue: The task queue; None means that of the sweep with ``-trials`` behind it, which the sweep's own
            worker serves, too.
    """

    def __init__(self, max_parallel: int = 8, queue: str | None = None) -> None:
        problems = count_problems(max_parallel=max_parallel)
        if queue is not None and not (isinstance(queue, str) and queue.strip()):
            problems.append(f"queue has to be the name of a task queue, got {queue!r}")
        if problems:
            raise DefinitionError(problems, type(self).__name__)
        self.max_parallel = max_parallel
        self.queue = queue
