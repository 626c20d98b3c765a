"""Hooks: everything that may be said at the boundary behind a stage, in one table."""

import inspect
from collections.abc import Iterator, Mapping
from datetime import timedelta
from enum import StrEnum
from types import UnionType
from typing import Any, Literal, NamedTuple, TypeAlias, get_origin

from metta.sweep.contracts.errors import nearest, shown
from metta.sweep.contracts.failures import RetryPolicy
from metta.sweep.pipeline.annotations import returned_by

HookKind: TypeAlias = Literal["control", "observation", "validation", "transformation", "persistence"]


class Takes(StrEnum):
    """What a hook may be besides a function, in the words of its error message."""

    NOTHING = ""
    FLAG = "True"
    PATH = "a path"
    ATTEMPTS = "a number of attempts or a RetryPolicy"
    SECONDS = "seconds or a timedelta"
    TYPE = "True or a type"
    SCHEMA = "a type, or types by field"
    PROFILE = 'True or "full"'


class Hook(NamedTuple):
    """A line of the table.

    Args:
        kind: What it may do.
        arity: With how many arguments it may be called; none when it is no function.
        takes: What else it may be.
        summary: What it does, for people.
    """

    kind: HookKind
    arity: tuple[int, ...]
    takes: Takes
    summary: str


_ONE = (1,)

HOOKS: Mapping[str, Hook] = {
    "skip_if": Hook("control", _ONE, Takes.NOTHING, "leaves the stage out and passes its input on"),
    "before": Hook("observation", _ONE, Takes.NOTHING, "sees the input"),
    "cache": Hook("persistence", (), Takes.FLAG, "takes the output of an earlier run with the same input"),
    "cache_key": Hook("persistence", _ONE, Takes.NOTHING, "says what counts as the same input"),
    "profile": Hook("persistence", (), Takes.PROFILE, "measures wall time, CPU time and memory"),
    "retry": Hook("control", (), Takes.ATTEMPTS, "runs a stage that raised again"),
    "timeout": Hook("control", (), Takes.SECONDS, "ends an attempt that takes too long"),
    "validate_type": Hook("validation", (), Takes.TYPE, "refuses an output of another type"),
    "schema": Hook("validation", (), Takes.SCHEMA, "refuses an output whose fields have other types"),
    "validate": Hook("validation", _ONE, Takes.NOTHING, "refuses an output by False or an exception"),
    "assert_fn": Hook("validation", _ONE, Takes.NOTHING, "refuses an output by False or an exception"),
    "filter": Hook("transformation", _ONE, Takes.NOTHING, "gives the part of the output to go on with"),
    "transform": Hook("transformation", _ONE, Takes.NOTHING, "gives another output"),
    "enrich": Hook("transformation", _ONE, Takes.NOTHING, "gives more fields, or another output"),
    "after": Hook("observation", _ONE, Takes.NOTHING, "sees the output"),
    "log": Hook("observation", _ONE, Takes.NOTHING, "sees the output; a text it returns is logged"),
    "metrics": Hook("observation", _ONE, Takes.NOTHING, "sees the output; numbers it returns are kept"),
    "debug": Hook("observation", _ONE, Takes.NOTHING, "sees the output, only where a debugger can be"),
    "monitor": Hook("observation", _ONE, Takes.NOTHING, "sees the output"),
    "serialize": Hook("transformation", _ONE, Takes.NOTHING, "gives what is stored of the output"),
    "checkpoint": Hook("persistence", (), Takes.FLAG, "stores the output"),
    "checkpoint_path": Hook("persistence", _ONE, Takes.PATH, "says under which name, and stores it"),
    "archive": Hook("persistence", _ONE, Takes.PATH, "stores the output under a name, for good"),
    "on_error": Hook("control", (1, 2), Takes.NOTHING, "gives an output in place of a failure"),
}
"""Every hook, in the order in which they take part."""

OBSERVERS = tuple(name for name, hook in HOOKS.items() if hook.kind == "observation" and name != "before")


class HookSet(Mapping[str, Any]):
    """Hooks for several boundaries: ``HookSet(retry=3, log=print) | HookSet(cache=True)``.

    What stands to the right wins. Give it to a boundary with ``**``.
    """

    def __init__(self, **hooks: Any) -> None:
        self._hooks = hooks

    def __getitem__(self, name: str) -> Any:
        return self._hooks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._hooks)

    def __len__(self) -> int:
        return len(self._hooks)

    def __or__(self, other: Mapping[str, Any]) -> "HookSet":
        return HookSet(**{**self._hooks, **other})

    def __ror__(self, other: Mapping[str, Any]) -> "HookSet":
        return HookSet(**{**other, **self._hooks})

    def __repr__(self) -> str:
        return f"HookSet({', '.join(f'{name}={value!r}' for name, value in self._hooks.items())})"


def problem_of_hook(name: str, value: Any, *, is_global: bool = False) -> str | None:
    """What is wrong with a hook, or None.

    Args:
        name: Its name.
        value: What was given.
        is_global: Whether it is called with the stage's name as well.
    """
    if name not in HOOKS:
        near = nearest(name, list(HOOKS))
        if is_global or callable(value) or "did you mean" in near:
            return f"{name} is no hook{near}"
        return f"{name} is neither a hook nor a field, for {shown(value)} is no type"
    hook = HOOKS[name]
    if _is_taken(hook.takes, value):
        return None
    if hook.arity and isinstance(value, type):
        return (
            f"{name} is a hook, so it cannot be a field; name the field otherwise, or declare it in a class"
        )
    if not hook.arity or not callable(value):
        forms = [_signature_text(hook.arity, is_global) if hook.arity else "", hook.takes.value]
        return f"{name} has to be {' or '.join(filter(None, forms))}, got {shown(value)}"
    counts = tuple(count + is_global for count in hook.arity)
    if arity_of(value, counts) is None:
        return f"{name} has to be {_signature_text(hook.arity, is_global)}, got {_parameters(value)}"
    if name == "filter" and returned_by(value) is bool:
        return "filter returns a bool; it has to return the part of the output to go on with"
    return None


def arity_of(function: Any, counts: tuple[int, ...]) -> int | None:
    """The largest of some numbers of arguments that a function can be called with; None if none can."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some callables written in C tell nothing
        return counts[0]
    for count in sorted(counts, reverse=True):
        try:
            signature.bind(*range(count))
        except TypeError:
            continue
        return count
    return None


def _is_taken(takes: Takes, value: Any) -> bool:
    match takes:
        case Takes.NOTHING:
            return False
        case Takes.FLAG:
            return isinstance(value, bool)
        case Takes.PATH:
            return isinstance(value, str) and bool(value)
        case Takes.ATTEMPTS:
            is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 1
            return is_count or isinstance(value, RetryPolicy)
        case Takes.SECONDS:
            return (
                not isinstance(value, bool)
                and isinstance(value, int | float | timedelta)
                and seconds(value) > 0
            )
        case Takes.TYPE:
            return value is True or _is_type(value)
        case Takes.SCHEMA:
            return _is_type(value) or (isinstance(value, Mapping) and all(map(_is_type, value.values())))
        case Takes.PROFILE:
            return isinstance(value, bool) or value == "full"


def _is_type(value: Any) -> bool:
    return isinstance(value, type | UnionType) or get_origin(value) is not None


def seconds(value: float | timedelta) -> float:
    """A time in seconds."""
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


_NAMES = {1: "data", 2: "error, data"}


def _signature_text(arity: tuple[int, ...], is_global: bool) -> str:
    first = "stage, " if is_global else ""
    forms = [_NAMES[n] for n in arity] if len(arity) == 1 else ["error", "error, data"]
    return "a function of " + " or ".join(f"({first}{form})" for form in forms)


def _parameters(function: Any) -> str:
    return f"{getattr(function, '__name__', 'one')}{inspect.signature(function)}"
