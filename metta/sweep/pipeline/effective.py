"""Effective hooks: those of a boundary, with the global ones around them."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from metta.sweep.contracts.failures import RetryPolicy
from metta.sweep.pipeline.hooks import HOOKS, arity_of, seconds
from metta.sweep.pipeline.nodes import Stage

Function = Callable[..., Any]


class Hooks:
    """The hooks of one stage.

    Args:
        path: Path of the stage, which global hooks are called with.
        own: Those of its boundary.
        shared: Global ones, those of the innermost pipeline first.
    """

    def __init__(self, path: str, own: Mapping[str, Any], shared: tuple[Mapping[str, Any], ...]) -> None:
        self._path, self._own, self._shared = path, own, shared

    @property
    def names(self) -> tuple[str, ...]:
        """Which hooks there are, in their order."""
        given = set(self._own).union(*self._shared)
        return tuple(name for name in HOOKS if name in given)

    def functions(self, name: str) -> list[Function]:
        """Functions of a hook, the boundary's own first, then the global ones from inside out."""
        return [value for value in self._all(name) if callable(value)]

    def nearest(self, name: str) -> Any:
        """The value or function that counts where only one can, the innermost; None when there is none."""
        return next(self._all(name), None)

    @property
    def retry(self) -> RetryPolicy:
        """How often its code is tried again."""
        said = self.nearest("retry")
        return said if isinstance(said, RetryPolicy) else RetryPolicy(max_attempts=said or 1)

    @property
    def timeout_s(self) -> float | None:
        """Longest time that an attempt may take, in seconds; None when it has no limit."""
        said = self.nearest("timeout")
        return None if said is None else seconds(said)

    def _all(self, name: str) -> Iterator[Any]:
        if name in self._own:
            yield self._own[name]
        for hooks in self._shared:
            if name in hooks:
                value = hooks[name]
                # types are callable too, but they are values of hooks
                is_function = callable(value) and not isinstance(value, type)
                yield partial(value, self._path) if is_function else value


def effective(stage: Stage) -> Hooks:
    """The hooks of a stage."""
    return Hooks(stage.path, stage.boundary.hooks, stage.shared)


def call_with_as_many(function: Function, *arguments: Any) -> Any:
    """Call a function with as many of the arguments as it takes, at least one."""
    counts = tuple(range(1, len(arguments) + 1))
    return function(*arguments[: arity_of(function, counts) or 1])
