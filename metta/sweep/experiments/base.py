"""What experiments are built of."""

from typing import TYPE_CHECKING

from metta.sweep.contracts.lazy import lazy

if TYPE_CHECKING:
    from metta.sweep.experiments.experiment import Experiment as Experiment
    from metta.sweep.experiments.ready.context import SweepContext as SweepContext
    from metta.sweep.pipeline.builder import Pipeline as Pipeline
    from metta.sweep.pipeline.hooks import HookSet as HookSet
    from metta.sweep.pipeline.merging import Merge as Merge
    from metta.sweep.pipeline.records import Record as Record

__all__, __getattr__, __dir__ = lazy(
    __name__,
    {
        "experiments.experiment": ["Experiment"],
        "experiments.ready.context": ["SweepContext"],
        "pipeline.builder": ["Pipeline"],
        "pipeline.hooks": ["HookSet"],
        "pipeline.merging": ["Merge"],
        "pipeline.records": ["Record"],
    },
    root="metta.sweep",
)
