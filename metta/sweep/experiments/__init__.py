"""What users subclass and run."""

from typing import TYPE_CHECKING

from metta.sweep.contracts.lazy import lazy

if TYPE_CHECKING:
    from metta.sweep.client.results import Results as Results
    from metta.sweep.experiments.curriculum import CurriculumExperiment as CurriculumExperiment
    from metta.sweep.experiments.experiment import Experiment as Experiment
    from metta.sweep.experiments.ready.context import SweepContext as SweepContext
    from metta.sweep.experiments.sweep import SweepExperiment as SweepExperiment
    from metta.sweep.experiments.tasks import CurriculumContext as CurriculumContext
    from metta.sweep.experiments.tasks import Task as Task

__all__, __getattr__, __dir__ = lazy(
    __name__,
    {
        "client.results": ["Results"],
        "experiments.curriculum": ["CurriculumExperiment"],
        "experiments.experiment": ["Experiment"],
        "experiments.ready.context": ["SweepContext"],
        "experiments.sweep": ["SweepExperiment"],
        "experiments.tasks": ["CurriculumContext", "Task"],
    },
    root="metta.sweep",
)
