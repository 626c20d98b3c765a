"""What users subclass and run."""

from typing import TYPE_CHECKING

from metta.sweep.contracts.lazy import lazy

if TYPE_CHECKING:
    from metta.sweep.client.results import Results as Results
    from metta.sweep.experiments.experiment import Experiment as Experiment
    from metta.sweep.experiments.ready.context import SweepContext as SweepContext
    from metta.sweep.experiments.sweep import SweepExperiment as SweepExperiment

__all__, __getattr__, __dir__ = lazy(
    __name__,
    {
        "client.results": ["Results"],
        "experiments.experiment": ["Experiment"],
        "experiments.ready.context": ["SweepContext"],
        "experiments.sweep": ["SweepExperiment"],
    },
    root="metta.sweep",
)
