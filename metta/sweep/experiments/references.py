"""References: how functions and classes are named so that another process finds them again."""

import ast
import inspect
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

from metta.sweep.contracts.components import ComponentSpec, Configured, load
from metta.sweep.contracts.errors import DefinitionError, shown
from metta.sweep.contracts.importing import script_of
from metta.sweep.contracts.jobs import Job
from metta.sweep.contracts.objectives import problems_of
from metta.sweep.contracts.references import Reference
from metta.sweep.contracts.sweeps import SweepSpec
from metta.sweep.experiments.objectives import Tried, problems_of_tried, resolved

AnyObjective: TypeAlias = Callable[..., object] | str | Job | Tried

CLIENT = "metta.sweep"
"""Stamp of inputs of workflows that were checked here."""

_HERE = str(Path(__file__).parents[1])


def reference_of(thing: Callable[..., object]) -> Reference:
    """Name a function or class: by its module, by its script, or, where neither leads back, by value.

    A reference by value has no hash yet: it gets one when the value is put into the store.

    >>> str(reference_of(Path))
    'pathlib:Path'
    """
    name = getattr(thing, "__qualname__", "")
    if name.isidentifier():
        for module in (thing.__module__, "__main__"):
            if _attribute(module, name) is thing and (reference := _named(module, name)):
                return reference
    return Reference("value", "", name or type(thing).__name__)


def reference_of_variable(value: object) -> Reference | None:
    """Name what has no name of its own: by a variable of the program, or of the module that is calling.

    Returns:
        None when no variable leads to it; else the first one that does.
    """
    for module in ("__main__", _calling_module()):
        for name, found in vars(sys.modules[module]).items() if module in sys.modules else ():
            if found is value and (reference := _named(module, name)):
                return reference
    return None


def _named(module: str, name: str) -> Reference | None:
    """A module's attribute as another process finds it; None when it does not."""
    if module != "__main__":
        script = script_of(module)
        return Reference("script", str(script), name) if script else Reference("module", module, name)
    if started := _started_module():
        return Reference("module", started, name)
    script = _script()
    return Reference("script", str(script), name) if script and name in _bound(script) else None


def _bound(script: Path) -> set[str]:
    """Names that a script may bind when it is imported: all but those below ``if __name__ == ...``."""
    names: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(script.read_bytes())]
    while waiting:
        match waiting.pop():
            case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))) as guard:
                waiting += guard.orelse
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() as definition:
                names.add(definition.name)
            case ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
            case ast.alias() as imported:
                names.add(imported.asname or imported.name)
            case node:
                waiting += ast.iter_child_nodes(node)
    return names


def _calling_module() -> str:
    """The module outside this package that is calling it."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", ""))


def spec_of(component: object, kind: type[Configured]) -> ComponentSpec:
    """A component as plain data.

    Args:
        component: What was given for it.
        kind: Which kind of component it has to be.

    Raises:
        DefinitionError: When it is none, or another process could not make it again.
    """
    if isinstance(component, kind):
        return component.spec(findable)
    name = kind.__name__.lower()
    if isinstance(component, type) and issubclass(component, kind):
        raise DefinitionError([f"{name} is a class; call it: {component.__name__}()"], name)
    example = kind.registry[SweepSpec.model_fields[name].default.type].rpartition(":")[2]
    raise DefinitionError([f"{name} has to be an object such as {example}(), got {shown(component)}"], name)


def findable(thing: Callable[..., object]) -> str:
    """Name a class or function for other processes.

    Raises:
        DefinitionError: When they could not find it.
    """
    reference = reference_of(thing)
    if reference.kind == "value":
        problem = (
            f"{reference.name} is defined inside a function or notebook; define it in a module or script"
        )
        raise DefinitionError([problem], reference.name)
    return str(reference)


def problems_of_objective(objective: object, bare_allowed: bool) -> Iterator[str]:
    """What is wrong with an objective, as far as it can be seen without running it.

    Args:
        objective: What was given.
        bare_allowed: Whether a bare number can be judged, because a metric or goal was given.
    """
    if objective is None:
        yield (
            "objective is missing; give a function, or a reference: 'package.module:function'"
            " or 'path/script.py:function', or a program: Job(command=[...]), or an Experiment. It may be the"
            " argument"
            " `objective`, the program's default"
            " by configure(objective=...), or the project's by `objective` under [tool.metta-sweep] in"
            " pyproject.toml"
        )
        return
    if isinstance(objective, Job):
        return
    if (problems := problems_of_tried(resolved(objective))) is not None:
        yield from problems
        return
    try:
        found = _found(objective) if isinstance(objective, str) else objective
    except DefinitionError as error:
        yield from error.problems
        return
    if found is not None:
        yield from problems_of(found)
    if not bare_allowed and _returns_bare(found):
        yield (
            'the objective returns a bare number: add goal="maximize" or goal="minimize",'
            ' or return a dict such as {"accuracy": 0.9}'
        )


def _found(text: str) -> object:
    """What a reference names; None for a script, which is imported where it runs and not here."""
    reference = Reference.parse(text)
    if reference.kind == "script" and not Path(reference.target).is_file():
        raise DefinitionError([f"objective {text!r}: there is no file {reference.target!r}"])
    return load(text) if reference.kind == "module" else None


def _returns_bare(objective: Any) -> bool:
    try:
        annotation = inspect.signature(objective).return_annotation
    except (TypeError, ValueError):
        return False
    return annotation in (float, int, "float", "int")


def _attribute(module: str, name: str) -> Any:
    return getattr(sys.modules.get(module) or import_module(module), name, None)


def _started_module() -> str:
    """The module that was started with ``python -m``, by its importable name; empty when none was."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec.name if spec else ""


def _script() -> Path | None:
    """The program that was started, when it is a file that can be imported again."""
    file = getattr(sys.modules["__main__"], "__file__", None)
    return Path(file).resolve() if file and file.endswith(".py") and Path(file).is_file() else None
