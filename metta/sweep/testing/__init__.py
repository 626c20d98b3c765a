"""What holds for every component of a kind, as checks that any implementation can be put through."""

from typing import TYPE_CHECKING

from metta.sweep.contracts.lazy import lazy

if TYPE_CHECKING:
    from metta.sweep.testing.attempts import AttemptRunner as AttemptRunner
    from metta.sweep.testing.attempts import AttemptSubject as AttemptSubject
    from metta.sweep.testing.attempts import attempt_conformance as attempt_conformance
    from metta.sweep.testing.executors import ExecutorSubject as ExecutorSubject
    from metta.sweep.testing.executors import executor_conformance as executor_conformance
    from metta.sweep.testing.trials import TrialWorkflows as TrialWorkflows

__all__, __getattr__, __dir__ = lazy(
    __name__,
    {
        "attempts": ["AttemptRunner", "AttemptSubject", "attempt_conformance"],
        "executors": ["ExecutorSubject", "executor_conformance"],
        "trials": ["TrialWorkflows"],
    },
)
