"""Classes: named in plain JSON so that each process finds its own."""

import sys
from collections.abc import Iterable, Iterator
from enum import Enum
from functools import cached_property, reduce
from operator import or_
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin

from pydantic import JsonValue

from metta.sweep.contracts.components import load
from metta.sweep.contracts.consent import check_reference
from metta.sweep.contracts.errors import DefinitionError, Refused, SweepError
from metta.sweep.contracts.importing import attribute, module_name, script_of
from metta.sweep.contracts.references import Reference
from metta.sweep.pipeline.annotations import hints_of, is_record_class, is_typed_dict, members_of, type_text


class Unfindable(SweepError):
    """A class has no name by which another process finds it, or a name leads to none."""


class Classes:
    """Names classes, and finds them by their names.

    A class of a script is named by the path of the script, wherever it was imported: the program that was
    started knows it as ``__main__``, and others by ``import_script``.

    Args:
        known: Types; classes that these consist of are found even where no module has them.
    """

    def __init__(self, known: Iterable[Any] = ()) -> None:
        self._kinds = tuple(known)

    def name(self, kind: type) -> JsonValue:
        """A class as text; a generic pydantic model with its arguments as a list.

        >>> Classes().name(Path)
        'pathlib:Path'

        Raises:
            Unfindable: When no other process could find it.
        """
        generic = getattr(kind, "__pydantic_generic_metadata__", None)
        if generic and generic["origin"]:
            return [self.name(generic["origin"]), *map(self._argument, generic["args"])]
        home = _home_of(kind)
        text = f"{home or kind.__module__}:{kind.__qualname__}"
        if home is None and self._known.get(text) is not kind:
            raise Unfindable(
                f"{type_text(kind)} is defined where no other process finds it; define it in a module"
            )
        return text

    def find(self, name: JsonValue) -> Any:
        """The class of a name.

        Raises:
            Unfindable: When there is none.
        """
        match name:
            case [origin, *arguments]:
                return self.find(origin)[tuple(map(self._found_argument, arguments))]
            case str():
                found = self._known[name] if _is_local(name) and name in self._known else loaded(name)
                if isinstance(found, type):
                    return found
        raise Unfindable(f"{name!r:.200} is no class")

    @cached_property
    def _known(self) -> dict[str, type]:
        return {f"{kind.__module__}:{kind.__qualname__}": kind for kind in classes_within(self._kinds)}

    def _argument(self, kind: Any) -> JsonValue:
        """An argument of a generic class."""
        if kind in (None, NoneType, Any, Ellipsis):
            return {None: None, NoneType: None, Any: "Any", Ellipsis: "..."}[kind]
        if members := members_of(kind):
            return ["|", *map(self._argument, members)]
        if origin := get_origin(kind):
            return [self.name(origin), *map(self._argument, get_args(kind))]
        if isinstance(kind, type):
            return self.name(kind)
        raise Unfindable(f"{type_text(kind)}, for which a class is generic, has no name")

    def _found_argument(self, name: JsonValue) -> Any:
        match name:
            case None:
                return NoneType
            case "Any":
                return Any
            case "...":
                return Ellipsis
            case ["|", *members]:
                return reduce(or_, map(self._found_argument, members))
        return self.find(name)


def _is_local(text: str) -> bool:
    return text.startswith("__main__:") or "<locals>" in text


def classes_within(kinds: Iterable[Any]) -> Iterator[type]:
    """Classes of values that types consist of, and that the fields of these consist of, and so on."""
    seen: set[type] = set()
    waiting = list(kinds)
    while waiting:
        kind = waiting.pop()
        waiting += get_args(kind)
        is_named = isinstance(kind, type) and (issubclass(kind, Enum) or hasattr(kind, "__pack__"))
        if (is_named or is_record_class(kind) or is_typed_dict(kind)) and kind not in seen:
            seen.add(kind)
            waiting += hints_of(kind).values()
            yield kind


def _home_of(kind: Any) -> str | None:
    """The module or script that has a class or function under its name; None where others find none."""
    module = sys.modules.get(kind.__module__)
    found: Any = module
    for part in kind.__qualname__.split("."):
        found = getattr(found, part, None)
    if module is None or found is not kind:
        return None
    if kind.__module__ == "__main__":
        return _main_module() or _main_script()
    return str(script_of(kind.__module__) or kind.__module__)


def _main_script() -> str | None:
    """The program that was started, when it is a file that can be imported again."""
    file = getattr(sys.modules["__main__"], "__file__", None)
    return str(Path(file).resolve()) if file and file.endswith(".py") and Path(file).is_file() else None


def _main_module() -> str | None:
    """The module that was started with ``python -m``."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec.name if spec else None


def portable_name(thing: Any) -> str | None:
    """Name of a class or function whose module other processes know by another name; None of any other."""
    home = _home_of(thing)
    return f"{home}:{thing.__qualname__}" if home and home != thing.__module__ else None


def loaded(text: str) -> Any:
    """What a name of a module's or script's attribute leads to, in this process.

    Nothing that is there is imported again, even if it is there in half: the thread that imports it may be
    waiting for this one.

    Raises:
        Unfindable: When it leads to nothing.
        Refused: When this worker does not consent to it.
    """
    try:
        check_reference(text)
        reference = Reference.parse(text)
        name = str(Path(reference.target).resolve()) if reference.kind == "script" else reference.target
        if name == (_main_module() or _main_script()):
            name = "__main__"
        elif reference.kind == "script":
            name = module_name(Path(name))
        return attribute(sys.modules[name], reference.name, text) if name in sys.modules else load(text)
    except Refused:  # another try would not mend it
        raise
    except DefinitionError as error:
        raise Unfindable("; ".join(error.problems)) from error
