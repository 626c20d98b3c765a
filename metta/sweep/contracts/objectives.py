"""Objectives: which forms a function may have, and how each is called."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from inspect import Parameter
from typing import Any, get_origin

from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.trials import Trial

FORMS = "write `def train(trial: Trial)` or `def train(params: dict)`"


def problems_of(objective: Any) -> list[str]:
    """What keeps something from being an objective, one sentence each."""
    if not callable(objective):
        return [f"the objective {objective!r} cannot be called; {FORMS}"]
    if isinstance(objective, type) and hasattr(objective, "pipeline"):
        return [
            f"the objective {objective.__qualname__} is an experiment, named like a function: give the class"
            ' itself, or in JSON {"experiment": "package.module:name"}'
        ]
    try:
        parameters = list(inspect.signature(objective).parameters.values())
    except (TypeError, ValueError):  # some callables written in C tell nothing
        return []
    name = getattr(objective, "__qualname__", repr(objective))
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if not positional and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        how = "arguments only by name" if parameters else "no argument"
        return [f"the objective {name} takes {how}; {FORMS}"]
    variadic = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    required = [p.name for p in parameters if p.default is p.empty and p.kind not in variadic]
    if len(required) > 1:
        return [f"the objective {name} needs {', '.join(required)}, but it gets one argument; {FORMS}"]
    return []


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
    """By annotation where it says so, else by the parameter's name."""
    try:
        first = next(iter(_signature(objective).parameters.values()))
    except (TypeError, ValueError):
        return False
    said = _KINDS.get(_head(first.annotation)) if isinstance(first.annotation, str) else first.annotation
    kind = get_origin(said) or said
    if isinstance(kind, type) and issubclass(kind, (Mapping, Trial)):
        return issubclass(kind, Mapping)
    return first.name in ("params", "config")


_KINDS = {"dict": dict, "mapping": Mapping, "trial": Trial}


def _head(annotation: str) -> str:
    """The bare name of a type: ``dict`` of ``typing.Dict[str, t.Any]``."""
    return annotation.partition("[")[0].rpartition(".")[2].strip(" '\"").lower()


def _signature(objective: Any) -> inspect.Signature:
    try:
        return inspect.signature(objective, eval_str=True)
    except Exception:  # annotations may name what only type checkers import, or be no code at all
        return inspect.signature(objective)


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
