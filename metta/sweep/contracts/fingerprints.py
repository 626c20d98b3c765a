"""Fingerprints: whether the code of an objective is still what it was."""

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import blake2b
from pathlib import Path
from types import CodeType, FunctionType, MethodType
from typing import Any

from metta.sweep.contracts.components import load
from metta.sweep.contracts.references import Reference


def fingerprint_of(objective: Callable[..., object] | str) -> str:
    """What changes when somebody edits an objective, or what it calls in its own file.

    Of an objective that is named by its script all of the file counts: it is not imported here.

    Returns:
        16 hexadecimal digits, or nothing when the source is not to be found.
    """
    texts = _texts(objective)
    return blake2b("\0".join(texts).encode(), digest_size=8).hexdigest() if texts else ""


def _texts(objective: Callable[..., object] | str) -> list[str]:
    if not isinstance(objective, str):
        return sorted(filter(None, map(_source, _reached(_plain(objective)))))
    reference = Reference.parse(objective)
    if reference.kind == "script":
        return [Path(reference.target).read_text("utf-8")]
    return _texts(load(objective))


def _source(thing: Any) -> str:
    try:
        return inspect.getsource(thing)
    except (OSError, TypeError):  # made by a program, typed into an interpreter, or written in C
        return ""


def _plain(objective: Any) -> Any:
    """The function or class whose code a callable runs."""
    while isinstance(objective, partial):
        objective = objective.func
    if isinstance(objective, MethodType):
        objective = objective.__func__
    objective = inspect.unwrap(objective)
    return objective if isinstance(objective, FunctionType | type) else type(objective)


def _reached(start: Any) -> set[Any]:
    """Functions and classes of one file that are reached from one of them by name."""
    reached = {start}
    found = [start]
    while found:
        for thing in _named(found.pop()):
            if thing.__module__ == start.__module__ and thing not in reached:
                reached.add(thing)
                found.append(thing)
    return reached


def _named(thing: Any) -> Iterator[Any]:
    """Functions and classes that the code of another one names."""
    methods = vars(thing).values() if isinstance(thing, type) else [thing]
    for method in methods:
        if isinstance(method, FunctionType):
            for name in _names(method.__code__):
                value = method.__globals__.get(name)
                if isinstance(value, FunctionType | type):
                    yield value


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
