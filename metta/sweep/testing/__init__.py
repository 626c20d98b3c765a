"""What holds for every component of a kind, as checks that any implementation can be put through."""

from typing import TYPE_CHECKING

from metta.sweep.contracts.lazy import lazy

if TYPE_CHECKING:
    from metta.sweep.testing.executors import ExecutorSubject as ExecutorSubject
    from metta.sweep.testing.executors import executor_conformance as executor_conformance

__all__, __getattr__, __dir__ = lazy(__name__, {"executors": ["ExecutorSubject", "executor_conformance"]})
