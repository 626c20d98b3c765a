"""Objectives: which forms a function may have, and how each is called."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, get_origin

from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.trials import Trial

FORMS = "write `def train(trial: Trial)` or `def train(params: dict)`"


def problems_of(objective: Any) -> list[str]:
    """What keeps something from being an objective, one sentence each."""
    if not callable(objective):
        return [f"the objective {objective!r} cannot be called; {FORMS}"]
    try:
        parameters = inspect.signature(objective).parameters.values()
    except (TypeError, ValueError):  # some callables written in C tell nothing
        return []
    name = getattr(objective, "__qualname__", repr(objective))
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if not positional and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return [f"the objective {name} takes no argument; {FORMS}"]
    required = [p.name for p in parameters if p.default is p.empty and p.kind not in _VARIADIC]
    if len(required) > 1:
        return [f"the objective {name} needs {', '.join(required)}, but it gets one argument; {FORMS}"]
    return []


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def caller_of(objective: Any) -> Callable[[Trial], Any]:
    """A function that calls an objective in its own form, sync or async, and returns its result.

    Raises:
        DefinitionError: When it has no form that can be called.
    """
    if problems := problems_of(objective):
        raise DefinitionError(problems, "the objective")
    takes_params = _takes_params(objective)

    def call(trial: Trial) -> Any:
        returned = objective(trial.params if takes_params else trial)
        return asyncio.run(_awaited(returned)) if inspect.isawaitable(returned) else returned

    return call


def _takes_params(objective: Any) -> bool:
    """By annotation, else by the parameter's name."""
    try:
        first = next(iter(inspect.signature(objective).parameters.values()))
    except (TypeError, ValueError, StopIteration):
        return False
    annotation = first.annotation
    if annotation is inspect.Parameter.empty:
        return first.name in ("params", "config")
    if isinstance(annotation, str):
        return annotation.rpartition(".")[2].partition("[")[0].lower() in ("dict", "mapping")
    kind = get_origin(annotation) or annotation
    return isinstance(kind, type) and issubclass(kind, Mapping)


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
