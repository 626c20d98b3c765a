"""Annotations: whether one type fits where another one is expected, as far as that can be seen."""

import dataclasses
import inspect
from collections.abc import Awaitable, Coroutine, Mapping
from functools import partial
from types import MethodType, NoneType, UnionType
from typing import (
    Annotated,
    Any,
    ForwardRef,
    Literal,
    NamedTuple,
    NewType,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic import BaseModel


class FieldType(NamedTuple):
    """Type of a field, and whether it must be given."""

    type: Any
    required: bool = True


def hints_of(thing: Any) -> dict[str, Any]:
    """Annotations of a function, method, class or callable object; those that cannot be resolved are Any."""
    while isinstance(thing, partial):
        thing = thing.func
    if isinstance(thing, type):
        has_fields = is_record_class(thing) or is_typed_dict(thing)
        thing = thing if has_fields else thing.__init__  # type: ignore[misc]
    elif not inspect.isroutine(thing):
        thing = type(thing).__call__
    if isinstance(thing, MethodType):
        thing = thing.__func__
    try:
        return get_type_hints(thing, include_extras=True)
    except Exception:  # annotations may name what only type checkers import, or be no code at all
        raw = getattr(thing, "__annotations__", {})
        return {name: Any if isinstance(hint, str) else hint for name, hint in raw.items()}


def returned_by(function: Any) -> Any:
    """What a callable says it returns, after awaiting; Any where it says nothing."""
    if isinstance(function, type):
        return function
    said = hints_of(function).get("return", Any)
    if get_origin(said) in (Awaitable, Coroutine):
        return get_args(said)[-1]
    return NoneType if said is None else said


def is_type(value: Any) -> bool:
    """Whether something can be the type of a field."""
    return value is Any or isinstance(value, type | UnionType | NewType) or get_origin(value) is not None


def is_record_class(kind: Any) -> bool:
    """Whether it is a class of values with named fields: NamedTuple, dataclass or pydantic model."""
    if not isinstance(kind, type):
        return False
    is_named_tuple = issubclass(kind, tuple) and hasattr(kind, "_fields")
    return is_named_tuple or dataclasses.is_dataclass(kind) or issubclass(kind, BaseModel)


def fields_of_class(kind: Any) -> dict[str, FieldType] | None:
    """Fields of a record class in their order; None for any other type."""
    if not is_record_class(kind):
        return None
    if issubclass(kind, BaseModel):
        return {n: FieldType(f.annotation, f.is_required()) for n, f in kind.model_fields.items()}
    hints = hints_of(kind)
    if dataclasses.is_dataclass(kind):
        return {
            f.name: FieldType(
                hints.get(f.name, Any),
                f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING,
            )
            for f in dataclasses.fields(kind)
            if f.init
        }
    optional = kind._field_defaults
    return {n: FieldType(hints.get(n, Any), n not in optional) for n in kind._fields}


def class_of(kind: Any) -> Any:
    """The class that values of a type are instances of, as far as it has one."""
    kind = get_origin(kind) or kind
    return dict if is_typed_dict(kind) else kind  # typed dicts refuse isinstance


def is_typed_dict(kind: Any) -> bool:
    """Whether it is a TypedDict, be it from ``typing`` or ``typing_extensions``."""
    return isinstance(kind, type) and issubclass(kind, dict) and hasattr(kind, "__total__")


def type_text(kind: Any) -> str:
    """A type as people write it.

    >>> type_text(int), type_text(list[int]), type_text(int | None)
    ('int', 'list[int]', 'int | None')
    """
    if get_origin(kind) is None and isinstance(kind, type):
        return "None" if kind is NoneType else kind.__qualname__.rpartition("<locals>.")[2]
    return str(kind).replace("typing.", "")


def accepts(expected: Any, got: Any) -> bool:
    """Whether a value of one type fits where another one is expected; True where it cannot be told.

    Records fit where their fields do: they are built anew.

    >>> accepts(float, int), accepts(int, str), accepts(int | str, str), accepts(list[int], list[str])
    (True, False, True, False)
    """
    expected, got = _bare(expected), _bare(got)
    if expected is got or Any in (expected, got) or expected is object:
        return True
    if members := members_of(got):
        return all(accepts(expected, member) for member in members)
    if members := members_of(expected):
        return any(accepts(member, got) for member in members)
    if get_origin(expected) is Literal:
        return set(get_args(got)) <= set(get_args(expected)) if get_origin(got) is Literal else False
    if get_origin(got) is Literal:
        return all(accepts(expected, type(value)) for value in get_args(got))
    return _accepts_class(expected, got)


def _bare(kind: Any) -> Any:
    """The type behind annotations, new types and type variables."""
    if get_origin(kind) is Annotated:
        return _bare(get_args(kind)[0])
    if isinstance(kind, NewType):
        return _bare(kind.__supertype__)
    if isinstance(kind, TypeVar | ForwardRef | str):
        return Any
    return NoneType if kind is None else kind


def members_of(kind: Any) -> tuple[Any, ...]:
    """Members of a union; none for any other type."""
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else ()


_WIDER = {(float, int), (complex, int), (complex, float)}


def _accepts_class(expected: Any, got: Any) -> bool:
    wide, narrow = class_of(expected), class_of(got)
    if not (isinstance(wide, type) and isinstance(narrow, type)):
        return True
    if getattr(wide, "_is_protocol", False):
        return True
    if (wide, narrow) in _WIDER:
        return True
    if issubclass(narrow, wide):
        return _accept_arguments(get_args(expected), get_args(got))
    fields = fields_of_class(got)
    return fields is not None and not misfits(expected, fields)


def _accept_arguments(expected: tuple[Any, ...], got: tuple[Any, ...]) -> bool:
    if Ellipsis in (*expected, *got) and expected and got:
        wanted = expected[0]
        return all(accepts(wanted, kind) for kind in got if kind is not Ellipsis)
    # a subclass may have other parameters than its base, of which nothing is known
    return len(expected) != len(got) or all(map(accepts, expected, got))


def misfits(expected: Any, fields: Mapping[str, FieldType]) -> list[str]:
    """Why a record class cannot be built from fields, one phrase each; a class without fields never can."""
    wanted = fields_of_class(expected)
    if wanted is None:
        return [f"{type_text(expected)} has no fields"]
    return [
        f"{name} is missing" if name not in fields else wrong_field(name, kind.type, fields[name].type)
        for name, kind in wanted.items()
        if (name not in fields and kind.required)
        or (name in fields and not accepts(kind.type, fields[name].type))
    ]


def wrong_field(name: str, expected: Any, got: Any) -> str:
    """A phrase that says that a field has the wrong type."""
    return f"{name} has to be {type_text(expected)}, got {type_text(got)}"
