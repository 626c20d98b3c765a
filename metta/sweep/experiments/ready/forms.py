"""Forms: how stages are called that may be given as they are, or with options; for type checkers."""

from collections.abc import Coroutine
from typing import Any, Protocol, TypeAlias, overload

from metta.sweep.experiments.ready.context import SweepContext
from metta.sweep.experiments.ready.stages import AnyResources, ReadyStage

Flowing: TypeAlias = Coroutine[Any, Any, SweepContext]


class LocalSearch(Protocol):
    """``self.intensive_local_search``, or with options."""

    @overload
    def __call__(self, context: SweepContext | None) -> Flowing: ...
    @overload
    def __call__(
        self, *, n_trials: int, radius: float = ..., resources_per_trial: AnyResources = ...
    ) -> ReadyStage: ...
    @overload
    def __call__(
        self, *, radius: float, n_trials: int = ..., resources_per_trial: AnyResources = ...
    ) -> ReadyStage: ...
    def __call__(self, *given: Any, **options: Any) -> Any:
        """What is known afterwards, or the stage with these options."""


class GlobalSearch(Protocol):
    """``self.continue_global_search``, or with options."""

    @overload
    def __call__(self, context: SweepContext | None) -> Flowing: ...
    @overload
    def __call__(self, *, n_trials: int, resources_per_trial: AnyResources = ...) -> ReadyStage: ...
    def __call__(self, *given: Any, **options: Any) -> Any:
        """What is known afterwards, or the stage with these options."""


class Evaluation(Protocol):
    """``self.final_evaluation``, or with options."""

    @overload
    def __call__(self, context: SweepContext | None) -> Flowing: ...
    @overload
    def __call__(
        self, n_seeds: int, top_k: int = ..., *, resources_per_trial: AnyResources = ...
    ) -> ReadyStage: ...
    @overload
    def __call__(self, *, top_k: int, resources_per_trial: AnyResources = ...) -> ReadyStage: ...
    def __call__(self, *given: Any, **options: Any) -> Any:
        """What is known afterwards, or the stage with these options."""
