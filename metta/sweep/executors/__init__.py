"""Where trials run."""

from typing import TYPE_CHECKING

from metta.sweep.contracts.lazy import lazy

if TYPE_CHECKING:
    from metta.sweep.executors.base import Executor as Executor
    from metta.sweep.executors.local import LocalExecutor as LocalExecutor
    from metta.sweep.executors.worker import WorkerExecutor as WorkerExecutor

__all__, __getattr__, __dir__ = lazy(
    __name__, {"base": ["Executor"], "local": ["LocalExecutor"], "worker": ["WorkerExecutor"]}
)
