"""References: how functions and classes are named so that another process finds them again."""

import inspect
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from metta.sweep.contracts.components import ComponentSpec, Configured, load
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.objectives import problems_of
from metta.sweep.contracts.references import Reference


def reference_of(thing: Callable[..., object]) -> Reference:
    """Name a function or class: by its module, by its script, or, where neither leads back, by value.

    A reference by value has no hash yet: it gets one when the value is put into the store.

    >>> str(reference_of(Path))
    'pathlib:Path'
    """
    name = getattr(thing, "__qualname__", "")
    if name.isidentifier():
        if thing.__module__ != "__main__" and _attribute(thing.__module__, name) is thing:
            return Reference("module", thing.__module__, name)
        if (script := _script()) and _attribute("__main__", name) is thing:
            return Reference("script", str(script), name)
    return Reference("value", "", name or type(thing).__name__)


def spec_of(component: Configured) -> ComponentSpec:
    """A component as plain data.

    Raises:
        DefinitionError: When its class cannot be found by another process.
    """
    reference = reference_of(type(component))
    if reference.kind == "value":
        problem = (
            f"{reference.name} is defined inside a function or notebook; define it in a module or script"
        )
        raise DefinitionError([problem], reference.name)
    return component.spec(str(reference))


def problems_of_objective(objective: object, bare_allowed: bool) -> Iterator[str]:
    """What is wrong with an objective, as far as it can be seen without running it.

    Args:
        objective: What was given.
        bare_allowed: Whether a bare number can be judged, because a metric or goal was given.
    """
    if objective is None:
        yield (
            "objective is missing; give a function, or a reference: 'package.module:function'"
            " or 'path/script.py:function'"
        )
    elif isinstance(objective, str):
        yield from _problems_of_reference(objective)
    else:
        yield from problems_of(objective)
        if not bare_allowed and _returns_bare(objective):
            yield (
                'the objective returns a bare number: add goal="maximize" or goal="minimize",'
                ' or return a dict such as {"accuracy": 0.9}'
            )


def _problems_of_reference(text: str) -> Iterator[str]:
    try:
        reference = Reference.parse(text)
        if reference.kind == "module":
            yield from problems_of(load(text))
        elif reference.kind == "script" and not Path(reference.target).is_file():
            yield f"objective {text!r}: there is no file {reference.target!r}"
    except DefinitionError as error:
        yield from error.problems


def _returns_bare(objective: object) -> bool:
    annotation = getattr(objective, "__annotations__", {}).get("return", inspect.Signature.empty)
    return annotation in (float, int, "float", "int")


def _attribute(module: str, name: str) -> Any:
    return getattr(sys.modules.get(module) or import_module(module), name, None)


def _script() -> Path | None:
    """The program that was started, when it is a file that can be imported again."""
    file = getattr(sys.modules["__main__"], "__file__", None)
    return Path(file).resolve() if file and file.endswith(".py") and Path(file).is_file() else None
