"""Conversion: values made to fit declared types, strictly, and as bytes and back."""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import SchemaError

from metta.sweep.contracts.errors import SweepError, shown
from metta.sweep.pipeline.annotations import class_of, fields_of_class, members_of, type_text
from metta.sweep.pipeline.records import Record, fields_of, replaced

_DATACLASS = "__dataclass_fields__"

_EXACT = ConfigDict(arbitrary_types_allowed=True, ser_json_bytes="base64", val_json_bytes="base64")
_EXACT["ser_json_inf_nan"] = "constants"


class Mismatch(SweepError):
    """A value does not fit the type that was declared for it.

    Args:
        problems: What is wrong, one phrase each.
        expected: The declared type, as text.
    """

    def __init__(self, problems: list[str], expected: str) -> None:
        self.problems, self.expected = problems, expected

    def __str__(self) -> str:
        return f"it does not fit {self.expected}: {'; '.join(self.problems)}"


def conform(value: Any, expected: Any) -> Any:
    """A value as the declared type; records are built from the fields of other ones.

    Raises:
        Mismatch: When it does not fit.
    """
    if members := members_of(expected):
        return _conform_to_one(value, expected, members)
    wanted = fields_of_class(expected)
    if wanted is None:
        return _checked(value, expected)
    given = fields_of(value)
    if given is None:
        raise Mismatch([f"got {shown(value)}"], type_text(expected))
    fields, problems = _conform_fields(given, {name: field.type for name, field in wanted.items()})
    problems += [f"{n} is missing" for n, field in wanted.items() if field.required and n not in given]
    if problems:
        raise Mismatch(problems, type_text(expected))
    if isinstance(value, expected):
        changes = {name: field for name, field in fields.items() if field is not given[name]}
        return replaced(value, changes) if changes else value
    return _built(expected, fields)


def conform_fields(given: Mapping[str, Any], types: Mapping[str, Any]) -> dict[str, Any]:
    """Fields as their declared types; those that are not there are left out.

    Raises:
        Mismatch: With everything that does not fit.
    """
    fields, problems = _conform_fields(given, types)
    if problems:
        raise Mismatch(problems, "its fields")
    return fields


def _conform_fields(given: Mapping[str, Any], types: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    fields, problems = {}, []
    for name in types.keys() & given.keys():
        try:
            fields[name] = conform(given[name], types[name])
        except Mismatch as error:
            problems += [f"{name}: {problem}" for problem in error.problems]
    return {name: fields[name] for name in types if name in fields}, sorted(problems)


def _conform_to_one(value: Any, expected: Any, members: tuple[Any, ...]) -> Any:
    for member in sorted(members, key=lambda member: type(value) is not member):  # its own class comes first
        try:
            return conform(value, member)
        except Mismatch:
            continue
    raise Mismatch([f"got {shown(value)}"], type_text(expected))


def _built(kind: Any, fields: dict[str, Any]) -> Any:
    try:
        return kind(**fields)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, e['loc']))}: {_told(e)}" for e in error.errors(include_url=False)]
        raise Mismatch(problems, type_text(kind)) from error
    except Exception as error:  # a constructor of the user's may raise anything
        raise _raised(error, "it cannot be built", kind) from error


def _raised(error: Exception, what: str, kind: Any) -> Mismatch:
    return Mismatch([f"{what}: {type(error).__name__}: {error}"], type_text(kind))


def _told(detail: Any) -> str:
    return f"{detail['msg'][0].lower()}{detail['msg'][1:]}, got {shown(detail['input'])}"


def _checked(value: Any, expected: Any) -> Any:
    adapter = adapter_of(expected)
    if adapter is None:
        kind = class_of(expected)
        if (
            isinstance(kind, type)
            and not getattr(kind, "_is_protocol", False)
            and not isinstance(value, kind)
        ):
            raise Mismatch([f"got {shown(value)}"], type_text(expected))
        return value
    try:
        return adapter.validate_python(value, strict=True)
    except ValidationError as error:
        if (plain := _plain(value)) is not value:
            return _checked(plain, expected)
        problems = []
        for detail in error.errors(include_url=False):
            where = ".".join(map(str, detail["loc"]))
            problems.append(f"{where}: {_told(detail)}" if where else _told(detail))
        raise Mismatch(problems, type_text(expected)) from error
    except Exception as error:  # and so may its validators
        raise _raised(error, "it cannot be checked", expected) from error


def _plain(value: Any) -> Any:
    """A scalar of numpy as Python's own, where it has one; any other value as it is."""
    if type(value).__module__ != "numpy" or getattr(value, "shape", None) != ():
        return value
    plain = value.item()
    return value if type(plain) is type(value) else plain


def adapter_of(kind: Any) -> "TypeAdapter[Any] | None":
    """Pydantic's adapter of a type; None where pydantic knows nothing of it."""
    try:
        return _cached_adapter(kind)
    except TypeError:  # not hashable
        return _adapter(kind)


def _adapter(kind: Any) -> "TypeAdapter[Any] | None":
    own_config = isinstance(kind, type) and (issubclass(kind, BaseModel) or hasattr(kind, _DATACLASS))
    try:
        return TypeAdapter(kind) if own_config else TypeAdapter(kind, config=_EXACT)
    except (PydanticUserError, SchemaError, NameError):
        return None


_cached_adapter = lru_cache(maxsize=1024)(_adapter)


def restored(data: bytes, expected: Any) -> Any:
    """JSON as the declared type.

    Raises:
        Mismatch: When it does not fit.
    """
    plain = json.loads(data)
    wanted = fields_of_class(expected)
    if wanted is None or not isinstance(plain, dict) or issubclass(expected, BaseModel):
        return _restored(plain, expected)
    return _built(expected, {n: _restored(plain[n], f.type) for n, f in wanted.items() if n in plain})


def restored_fields(data: bytes, types: Mapping[str, Any]) -> Record:
    """A JSON object as a record, with the types that are known of its fields.

    Raises:
        Mismatch: When one does not fit.
    """
    return Record(
        **{name: _restored(plain, types.get(name, Any)) for name, plain in json.loads(data).items()}
    )


def _restored(plain: Any, expected: Any) -> Any:
    adapter = adapter_of(expected)
    if adapter is None:
        raise Mismatch(["it cannot be read from JSON"], type_text(expected))
    try:
        return adapter.validate_json(json.dumps(plain))
    except ValidationError as error:
        raise Mismatch([_told(detail) for detail in error.errors()], type_text(expected)) from error
    except Exception as error:
        raise _raised(error, "it cannot be read from JSON", expected) from error
