"""How long trials run, and what runs next: pure functions of facts, one file each."""

from typing import TYPE_CHECKING

from metta.sweep.contracts.lazy import lazy

if TYPE_CHECKING:
    from metta.sweep.schedulers.asha import ASHAScheduler as ASHAScheduler
    from metta.sweep.schedulers.asynchronous import AsynchronousScheduler as AsynchronousScheduler
    from metta.sweep.schedulers.base import Scheduler as Scheduler
    from metta.sweep.schedulers.batch import BatchScheduler as BatchScheduler
    from metta.sweep.schedulers.batch import SynchronousBatchScheduler as SynchronousBatchScheduler
    from metta.sweep.schedulers.median import MedianStoppingScheduler as MedianStoppingScheduler

__all__, __getattr__, __dir__ = lazy(
    __name__,
    {
        "asha": ["ASHAScheduler"],
        "asynchronous": ["AsynchronousScheduler"],
        "base": ["Scheduler"],
        "batch": ["BatchScheduler", "SynchronousBatchScheduler"],
        "median": ["MedianStoppingScheduler"],
    },
)
