"""Records: values with named fields, while a pipeline runs."""

import dataclasses
from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from metta.sweep.contracts.errors import nearest


class Record(SimpleNamespace):
    """Fields that were declared one by one: ``ctx.score``, and ``ctx._replace(score=2)``."""

    def _replace(self, **changes: Any) -> "Record":
        return Record(**{**vars(self), **changes})

    def _asdict(self) -> dict[str, Any]:
        return dict(vars(self))

    if not TYPE_CHECKING:  # the checkers know nothing of the fields anyway

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(f"what flows here has no field {name!r}{nearest(name, list(vars(self)))}")


def fields_of(value: Any) -> dict[str, Any] | None:
    """Fields of a record, or of a mapping with names as keys; None for any other value."""
    if isinstance(value, Record):
        return value._asdict()
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return dict(zip(getattr(value, "_fields"), value, strict=True))  # noqa: B009 - tuples have none as such
    if isinstance(value, BaseModel):
        return {name: getattr(value, name) for name in type(value).model_fields}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return dict(value)
    return None


def replaced(value: Any, changes: Mapping[str, Any]) -> Any:
    """The same record with other values of some fields; a mapping or Record may get more of them."""
    if isinstance(value, BaseModel):
        return value.model_copy(update=changes)
    if isinstance(value, Mapping):
        return {**value, **changes}
    if hasattr(value, "_replace"):
        return value._replace(**changes)
    return dataclasses.replace(value, **changes)


def merged(before: Any, fields: Mapping[str, Any]) -> Record:
    """What flows on when fields are added to what flowed; a value without fields is left behind."""
    return Record(**{**(fields_of(before) or {}), **fields})
