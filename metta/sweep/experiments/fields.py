"""Fields: what the class of an experiment declares, and what its stages make of it."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from inspect import get_annotations
from typing import Any, ClassVar, get_origin, get_type_hints

from pydantic import (
    BaseModel,
    ConfigDict,
    JsonValue,
    PydanticUserError,
    TypeAdapter,
    ValidationError,
    create_model,
)
from pydantic_core import PydanticSerializationError

from metta.sweep.contracts.errors import DefinitionError, shown
from metta.sweep.contracts.models import problems_of, unknown_name
from metta.sweep.optimizers.forms import MAKING, Kept, Making, seeded
from metta.sweep.pipeline.annotations import type_text
from metta.sweep.pipeline.classes import loaded
from metta.sweep.pipeline.state import Fields, Unfit


def _refer(thing: Callable[..., object]) -> str:
    from metta.sweep.experiments.references import findable  # it imports this module

    return findable(thing)


_MAKING = {MAKING: Making(_refer, loaded)}
_COMPARING = {MAKING: Making(_refer, loaded, repeats=False)}
"""What pydantic is told of how optimizers are made again: in full, or so far that they can be compared."""

_open: set[int] = set()
"""Experiments whose stages run at this moment, by their identity."""


class DurableFields:
    """The fields of one experiment, which its stages may change.

    Args:
        values: Where the experiment keeps them by name, and perhaps other things.
        model: What validates them.
        identity: Tells the experiment from others.
    """

    def __init__(self, values: dict[str, Any], model: type[BaseModel], identity: int) -> None:
        self._values, self._model, self._identity = values, model, identity
        self._given = plain(model, {name: values[name] for name in model.model_fields})
        self.restore({})

    def changed(self) -> Fields:
        """See ``State.changed``."""
        values = {name: self._values[name] for name in self._model.model_fields}
        made, now = self._written(values), parts(self._model, values)
        same = {n for n in made if _same(values[n], self._before[n]) and now[n] == self._parts[n]}
        # what is the same flows on as it came: the JSON of a set has no order
        flowing = {name: value for name, value in self._flowing.items() if name in same}
        return flowing | {name: value for name, value in made.items() if name not in same}

    def restore(self, changed: Mapping[str, JsonValue]) -> None:
        """See ``State.restore``."""
        self._flowing = dict(changed)
        self._before = self._read({**self._given, **changed}, _COMPARING)
        self._parts = parts(self._model, self._before)
        self._values.clear()  # also of what was computed from other values
        self._values.update(self._read({**self._given, **changed}))

    @contextmanager
    def opened(self) -> Iterator[None]:
        """See ``State.opened``."""
        _open.add(self._identity)
        try:
            yield
        finally:
            _open.discard(self._identity)

    def _read(self, made: Mapping[str, Any], context: Mapping[str, Making] = _MAKING) -> dict[str, Any]:
        try:
            return read(self._model, made, context)
        except ValidationError as error:
            raise Unfit("; ".join(problems_of(error, self._model))) from None

    def _written(self, values: Mapping[str, Any]) -> Fields:
        read_again = self._read(values, _COMPARING)
        try:
            made = plain(self._model, read_again)
        except PydanticSerializationError:
            raise Unfit("; ".join(formless(self._model, read_again))) from None
        if problems := lost(values, self._read(made, _COMPARING)):
            raise Unfit("; ".join(problems))
        return made


def formless(model: type[BaseModel], values: Mapping[str, Any]) -> list[str]:
    """Fields whose values have no form in JSON, a sentence each.

    Args:
        model: What knows their types.
        values: Their values.
    """
    names = [name for name in model.model_fields if name in values]
    return [problem for name in names if (problem := _formless(model, name, values[name]))]


def _formless(model: type[BaseModel], name: str, value: object) -> str:
    try:
        _dumped(model, {name: value}, include={name})
    except PydanticSerializationError as error:
        kind = type(value)
        # what is within it may be at fault
        why = "" if repr(kind) in str(error) else f" ({error})"
        return (
            f"{name}: {shown(value)} of the type {type_text(kind)} has no form in JSON{why}; let the stage"
            " that needs it make it, or make it no field: a ClassVar, or a name with a leading underscore"
        )
    return ""


def lost(values: Mapping[str, Any], back: Mapping[str, Any]) -> list[str]:
    """What comes back from JSON as something else, a sentence each.

    Args:
        values: Values of fields.
        back: The same as they come back.
    """
    return [
        f"{name} comes back from JSON as {shown(back[name])}, and was {shown(values[name])}"
        for name in back
        if not _same(values[name], back[name])
    ]


def _same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    # objects that know no equality are compared by what they hold
    knows_none = not any("__eq__" in vars(kind) for kind in type(one).__mro__[:-1])
    return bool(one == other) or (knows_none and hasattr(one, "__dict__") and vars(one) == vars(other))


def assigned(experiment: object, model: type[BaseModel], name: str, value: object) -> object:
    """What a field becomes that a stage assigns to.

    Raises:
        AttributeError: When it is no field, or no stage runs.
        ValueError: When its type does not allow the value.
    """
    kind = type(experiment).__name__
    if name not in model.model_fields:
        problem = unknown_name(name, model.model_fields)
        raise AttributeError(f"what {kind} does not declare as a field is not kept: {problem}")
    if id(experiment) not in _open:
        raise AttributeError(
            f"{kind}.{name} cannot be changed here: only stages change the fields of their experiment"
        )
    try:
        made = model.__pydantic_validator__.validate_assignment(
            model.model_construct(), name, value, context=_MAKING
        )
    except ValidationError as error:
        problems = [p for p in problems_of(error, model) if p.startswith(name)]
        raise ValueError("; ".join(problems) or str(error)) from None
    return _with_seed(name, vars(made)[name])


@cache
def model_of(kind: type, root: type) -> type[BaseModel]:
    """A model that validates the fields of a class.

    Args:
        kind: The class.
        root: The class that all experiments derive from, which has none.

    Raises:
        DefinitionError: When a field has no type that can be validated.
    """
    hints = _hints_of(kind, root)
    config = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False, protected_namespaces=())
    fields: dict[str, Any] = {name: (hint, getattr(kind, name, ...)) for name, hint in hints.items()}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a field may be called like a method of pydantic's: `json`
            return create_model(kind.__name__, __config__=config, __module__=kind.__module__, **fields)
    except PydanticUserError as error:
        first, *_ = str(error).splitlines()
        wrong = [f"{n}: pydantic cannot validate {shown(h)}" for n, h in hints.items() if not _is_known(h)]
        raise DefinitionError(wrong or [first], kind.__name__) from error


def _hints_of(kind: type, root: type) -> dict[str, Any]:
    """Types of the fields, those of base classes first."""
    homes = [home for home in reversed(kind.__mro__) if issubclass(home, root)]
    names = [name for home in homes[1:] for name in get_annotations(home) if not name.startswith("_")]
    try:
        hints = get_type_hints(kind, include_extras=True)
    except Exception as error:  # annotations may name what only type checkers import, or be no code at all
        problem = f"its annotations cannot be read: {error}; define or import that at the top of the module"
        raise DefinitionError([problem], kind.__name__) from error
    return {n: hints[n] for n in names if ClassVar not in (hints[n], get_origin(hints[n]))}


def _is_known(hint: Any) -> bool:
    try:
        TypeAdapter(hint)
    except PydanticUserError:
        return False
    return True


def read(
    model: type[BaseModel], values: Mapping[str, Any], context: Mapping[str, Making] = _MAKING
) -> dict[str, Any]:
    """Fields from their values or plain JSON, validated.

    Raises:
        ValidationError: With every mistake.
    """
    made = vars(model.model_validate(values, context=dict(context)))
    return {name: _with_seed(name, value) for name, value in made.items()}


def _with_seed(name: str, value: Any) -> Any:
    """An optimizer without a seed takes one from the name of its field, the same in each run."""
    if isinstance(value, Kept):
        seeded(name, value)
    return value


def plain(model: type[BaseModel], values: dict[str, Any]) -> dict[str, JsonValue]:
    """Values of fields as plain JSON.

    Raises:
        PydanticSerializationError: When one has no such form.
    """
    return _dumped(model, values)


def _dumped(
    model: type[BaseModel], values: Mapping[str, Any], include: set[str] | None = None
) -> dict[str, JsonValue]:
    made = model.model_construct(**values)
    return BaseModel.model_dump(made, mode="json", include=include, warnings=False, context=_MAKING)


def parts(model: type[BaseModel], values: dict[str, Any]) -> dict[str, Any]:
    """Values of fields taken apart as far as pydantic knows their types, with what ``==`` may leave out."""
    return BaseModel.model_dump(model.model_construct(**values), warnings=False, context=_MAKING)
