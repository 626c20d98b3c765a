"""Components: optimizers, schedulers and executors as plain data, and back."""

import inspect
from abc import ABCMeta
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from inspect import Parameter
from pathlib import Path
from traceback import extract_tb
from types import FunctionType, MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeAlias, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, JsonValue, ValidationError

from metta.sweep.contracts.consent import check_reference
from metta.sweep.contracts.distributions import Distribution, same
from metta.sweep.contracts.errors import DefinitionError, DefinitionReached, nearest, shown
from metta.sweep.contracts.importing import GUARD, attribute, import_script, importing
from metta.sweep.contracts.models import Wire, json_ready, unknown_name
from metta.sweep.contracts.references import Reference
from metta.sweep.contracts.spaces import SearchSpace

ConfiguredT = TypeVar("ConfiguredT", bound="Configured")

Refer: TypeAlias = Callable[[Callable[..., object]], str]
"""Says where another process finds a class or function."""


class ComponentSpec(Wire):
    """An optimizer, scheduler or executor: its registered name or reference, and its arguments."""

    type: str
    options: dict[str, JsonValue] = Field(default_factory=dict)


def _full_form(data: Any) -> Any:
    """Accepts ``"random"`` and ``{"type": "local", "max_parallel": 2}`` beside the full form."""
    match data:
        case str():
            return {"type": data}
        case {"type": name, **options} if "options" not in options:
            return {"type": name, "options": options}
        case dict() | ComponentSpec():
            return data
    raise ValueError(
        f'write a name, or an object such as {{"type": "batch", "batch_size": 8}}, got {shown(data)}'
    )


Component: TypeAlias = Annotated[ComponentSpec, BeforeValidator(_full_form)]


class _CheckedType(ABCMeta):
    """Checks the arguments of a call of the class, before anything of it runs.

    A metaclass, because ``__new__`` is also called for copies and for what is unpickled.
    """

    if not TYPE_CHECKING:  # the checkers are to see the constructor's arguments, not this signature

        def __call__(cls, *args: object, **options: object) -> object:
            parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
            named = dict(zip(_by_position(parameters), args, strict=False))
            problems = [
                *(f"it does not define {name}" for name in sorted(cls.__abstractmethods__)),
                *_mistakes(parameters, len(args), named, options),
            ]
            if problems:
                raise DefinitionError(problems, cls.__name__)
            made = super().__call__(*args, **options)
            # past __setattr__, which a frozen dataclass forbids
            object.__setattr__(made, "_arguments", {**named, **options})
            object.__setattr__(made, "_nameless", args[len(named) :])
            return made


class Checked(metaclass=_CheckedType):
    """A class that tells all mistakes in the arguments of its constructor at once.

    Raises:
        DefinitionError: At construction, for unknown arguments (with the nearest name) and missing ones.
    """

    _arguments: dict[str, Any]
    _nameless: tuple[Any, ...]


class Configured(Checked):
    """Remembers the arguments it was made with, so that another process can make it again."""

    registry: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Every component of this kind by its short name: ``module:Class``."""

    def spec(self, refer: Refer | None = None) -> ComponentSpec:
        """This object as plain data, and components among its arguments too.

        Args:
            refer: Says where another process finds a class or function; None goes by its module.

        Raises:
            DefinitionError: When an argument is not plain data.
        """
        kind = type(self)
        path = f"{kind.__module__}:{kind.__qualname__}"
        short = next((name for name, target in self.registry.items() if target == path), None)
        problems = [f"{shown(value)} stands behind *; give it by name" for value in self._nameless]
        try:
            made = ComponentSpec(type=short or (refer(kind) if refer else path), options=self._options(refer))
        except ValidationError as error:
            wrong = dict.fromkeys(str(detail["loc"][1]) for detail in error.errors())
            problems += [f"{name} has to be plain JSON, got {shown(self._arguments[name])}" for name in wrong]
        else:
            if not problems:
                return made
        reason = "another process could not make it again"
        raise DefinitionError([f"{problem}: {reason}" for problem in problems], kind.__name__)

    def _options(self, refer: Refer | None) -> dict[str, Any]:
        """The arguments that are not at their defaults."""
        parameters = inspect.signature(type(self).__init__).parameters
        defaults = {name: _plain(p.default, refer) for name, p in parameters.items()}
        plain = {name: _plain(value, refer) for name, value in self._arguments.items()}
        return {n: value for n, value in plain.items() if n not in defaults or not same(value, defaults[n])}


def count_problems(**counts: object) -> list[str]:
    """What is wrong with arguments that count something: each is None or a whole number of at least 1."""
    return [
        f"{name} has to be a whole number of at least 1, got {value!r}"
        for name, value in counts.items()
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1)
    ]


def create(
    kind: type[ConfiguredT], spec: ComponentSpec, find: Callable[[str], Any] | None = None
) -> ConfiguredT:
    """Make an object again from plain data.

    Args:
        kind: The base class it has to have.
        spec: What to make.
        find: What a reference leads to; None imports it.

    Raises:
        DefinitionError: When the name is unknown, or its arguments are wrong.
    """
    # the class that has the registry: LocalExecutor and its like are all executors
    what = next(c.__name__ for c in kind.__mro__ if "registry" in vars(c)).lower()
    if spec.type not in kind.registry and ":" not in spec.type:
        problem = f"unknown {what} {spec.type!r}{nearest(spec.type, list(kind.registry))}"
        raise DefinitionError([problem], f"the {what}")
    made = (find or load)(kind.registry.get(spec.type, spec.type))
    if not (isinstance(made, type) and issubclass(made, kind)):
        raise DefinitionError([f"{spec.type} is not a subclass of {kind.__name__}"], f"the {what}")
    return made(**spec.options)


def load(text: str) -> Any:
    """What a reference to a module's or script's attribute names.

    Raises:
        DefinitionError: When it cannot be imported, with what its import raised.
        Refused: When this worker does not consent to it; then nothing was imported.
    """
    check_reference(text)
    reference = Reference.parse(text)
    return attribute(imported(reference, text), reference.name, text)


def imported(reference: Reference, text: str) -> ModuleType:
    """The module or script that a reference names.

    Args:
        reference: Which one.
        text: How it is called in errors.

    Raises:
        DefinitionError: When it cannot be imported, with what its import raised.
    """
    try:
        if reference.kind == "script":
            return import_script(Path(reference.target))
        with importing():
            return import_module(reference.target)
    except DefinitionError:
        raise
    except DefinitionReached:
        problem = f"{text} cannot be imported: its module runs a sweep when it is imported. {GUARD}"
        raise DefinitionError([problem], "the reference") from None
    except (Exception, SystemExit) as error:  # importing runs user code, which may raise anything
        problem = f"{text} cannot be imported: {_where(error)}{type(error).__name__}: {error}"
        raise DefinitionError([problem], "the reference") from error


def _where(error: BaseException) -> str:
    """File and line that raised, when it was not the import itself."""
    machinery = ("importlib", str(Path(__file__).parent))
    frames = [f for f in extract_tb(error.__traceback__) if not any(m in f.filename for m in machinery)]
    return f"{frames[-1].filename}:{frames[-1].lineno}: " if frames else ""


def _plain(value: Any, refer: Refer | None) -> Any:
    """A value as JSON, where it is one of ours or consists of such; any other one as it is."""
    match value:
        case FunctionType():
            return refer(value) if refer else f"{value.__module__}:{value.__qualname__}"
        case Configured():
            return value.spec(refer).model_dump()
        case SearchSpace() | Distribution():
            return value.to_json()
        case BaseModel():
            return value.model_dump(mode="json")
        case Mapping():
            return {name: _plain(item, refer) for name, item in value.items()}
        case list() | tuple():
            return [_plain(item, refer) for item in value]
    return json_ready(value)


_VARIADIC = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


def _by_position(parameters: list[Parameter]) -> list[str]:
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def _mistakes(
    parameters: list[Parameter], count: int, named: Mapping[str, object], options: Mapping[str, object]
) -> Iterator[str]:
    """What Python would say of a call's arguments one at a time, with the nearest names.

    Args:
        parameters: What is expected.
        count: How many arguments came by position.
        named: Those of them that have a name.
        options: Arguments that came by name.
    """
    kinds = {p.kind for p in parameters}
    if count > len(named) and Parameter.VAR_POSITIONAL not in kinds:
        yield f"it takes {len(named)} arguments by position, got {count}"
    yield from (f"{name} is given twice, by position and by name" for name in options if name in named)
    if Parameter.VAR_KEYWORD not in kinds:
        known = [p.name for p in parameters]
        yield from (problem for name in options if (problem := unknown_name(name, known)))
    for p in parameters:
        if p.default is p.empty and p.kind not in _VARIADIC and p.name not in {*named, *options}:
            yield f"{p.name} is missing"
