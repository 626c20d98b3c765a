"""Components: optimizers, schedulers and executors as plain data, and back."""

import inspect
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from traceback import extract_tb
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Self, TypeAlias, TypeVar

from pydantic import BeforeValidator, Field, JsonValue

from metta.sweep.contracts.errors import DefinitionError, DefinitionReached, nearest
from metta.sweep.contracts.importing import GUARD, attribute, import_script, importing
from metta.sweep.contracts.models import Wire, json_ready, unknown_name
from metta.sweep.contracts.references import Reference

ConfiguredT = TypeVar("ConfiguredT", bound="Configured")


class ComponentSpec(Wire):
    """An optimizer, scheduler or executor: its registered name or reference, and its arguments."""

    type: str
    options: dict[str, JsonValue] = Field(default_factory=dict)


def _full_form(data: Any) -> Any:
    """Accepts ``"random"`` and ``{"type": "local", "max_parallel": 2}`` beside the full form."""
    if isinstance(data, str):
        return {"type": data}
    if isinstance(data, dict) and "type" in data and "options" not in data:
        return {"type": data["type"], "options": {k: v for k, v in data.items() if k != "type"}}
    return data


Component: TypeAlias = Annotated[ComponentSpec, BeforeValidator(_full_form)]


class Checked:
    """A class whose constructor tells of unknown arguments with the nearest known one.

    Raises:
        DefinitionError: At construction, for unknown or missing arguments.
    """

    _arguments: dict[str, Any]

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Bind the arguments before ``__init__`` sees them."""
        signature = inspect.signature(cls.__init__)
        problems = _unknown(signature, options)
        if problems:
            raise DefinitionError(problems, cls.__name__)
        made = super().__new__(cls)
        try:
            bound = signature.bind(made, *args, **options)
        except TypeError as error:
            raise DefinitionError([str(error)], cls.__name__) from None
        made._arguments = dict(list(bound.arguments.items())[1:])
        return made


class Configured(Checked):
    """Remembers the arguments it was made with, so that another process can make it again."""

    registry: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Every component of this kind by its short name: ``module:Class``."""

    def spec(self, reference: str | None = None) -> ComponentSpec:
        """This object as plain data.

        Args:
            reference: Where another process finds its class; None goes by the class's module.
        """
        kind = type(self)
        path = f"{kind.__module__}:{kind.__qualname__}"
        short = next((name for name, target in self.registry.items() if target == path), reference or path)
        options = {name: json_ready(value) for name, value in self._arguments.items() if value is not None}
        return ComponentSpec(type=short, options=options)


def check_counts(owner: type, **counts: int | None) -> None:
    """Check arguments that count something.

    Raises:
        DefinitionError: With every one that is neither None nor a whole number of at least 1.
    """
    problems = [
        f"{name} has to be a whole number of at least 1, got {value!r}"
        for name, value in counts.items()
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1)
    ]
    if problems:
        raise DefinitionError(problems, owner.__name__)


def create(kind: type[ConfiguredT], spec: ComponentSpec) -> ConfiguredT:
    """Make an object again from plain data.

    Args:
        kind: The base class it has to have.
        spec: What to make.

    Raises:
        DefinitionError: When the name is unknown, or its arguments are wrong.
    """
    what = kind.__name__.lower()
    if spec.type not in kind.registry and ":" not in spec.type:
        problem = f"unknown {what} {spec.type!r}{nearest(spec.type, list(kind.registry))}"
        raise DefinitionError([problem], f"the {what}")
    made = load(kind.registry.get(spec.type, spec.type))
    if not (isinstance(made, type) and issubclass(made, kind)):
        raise DefinitionError([f"{spec.type} is not a subclass of {kind.__name__}"], f"the {what}")
    return made(**spec.options)


def load(text: str) -> Any:
    """What a reference to a module's or script's attribute names.

    Raises:
        DefinitionError: When it cannot be imported, with what its import raised.
    """
    reference = Reference.parse(text)
    try:
        if reference.kind == "script":
            module = import_script(Path(reference.target))
        else:
            with importing():
                module = import_module(reference.target)
    except DefinitionError:
        raise
    except DefinitionReached:
        problem = f"{text} cannot be imported: its module runs a sweep when it is imported. {GUARD}"
        raise DefinitionError([problem], "the reference") from None
    except Exception as error:  # importing runs user code, which may raise anything
        problem = f"{text} cannot be imported: {_where(error)}{type(error).__name__}: {error}"
        raise DefinitionError([problem], "the reference") from error
    return attribute(module, reference.name, text)


def _where(error: Exception) -> str:
    """File and line that raised, when it was not the import itself."""
    frames = [f for f in extract_tb(error.__traceback__) if "importlib" not in f.filename]
    return f"{frames[-1].filename}:{frames[-1].lineno}: " if len(frames) > 1 else ""


def _unknown(signature: inspect.Signature, options: Mapping[str, object]) -> list[str]:
    takes_any = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    known = [name for name in signature.parameters if name != "self"]
    problems = (unknown_name(name, known) for name in options)
    return [] if takes_any else [problem for problem in problems if problem]
