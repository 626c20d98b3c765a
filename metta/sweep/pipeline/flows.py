"""Flows: what is known, before anything runs, of the value between two stages."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Union, get_origin

from metta.sweep.pipeline.annotations import (
    FieldType,
    accepts,
    fields_of_class,
    members_of,
    misfits,
    type_text,
)
from metta.sweep.pipeline.records import Record


class Flow(NamedTuple):
    """A type, and its fields when it has some.

    Args:
        type: What flows; ``Record`` for fields that were declared one by one; Any when nothing is known.
        fields: Its fields; None for a type without fields, and when nothing is known.
    """

    type: Any
    fields: Mapping[str, FieldType] | None = None

    @classmethod
    def of(cls, kind: Any) -> "Flow":
        """The flow of a declared or annotated type."""
        return cls(kind, fields_of_class(kind))

    @classmethod
    def record(cls, fields: Mapping[str, FieldType]) -> "Flow":
        """The flow of a record of these fields."""
        return cls(Record, dict(fields))

    @property
    def is_unknown(self) -> bool:
        """Whether nothing can be said of it."""
        kind = get_origin(self.type) or self.type
        return kind in (Any, object) or (isinstance(kind, type) and issubclass(kind, Mapping))

    def fits(self, expected: Any) -> bool:
        """Whether it is, or can be made into, what is expected."""
        return not self.reasons(expected)

    def reasons(self, expected: Any) -> list[str]:
        """Why it does not fit where a type is expected."""
        if members := members_of(expected):
            return [] if any(map(self.fits, members)) else [f"{type_text(expected)} is expected"]
        if self.is_unknown and fields_of_class(expected) is not None:
            return []
        if self.fields is not None and fields_of_class(expected) is not None:
            is_one = isinstance(self.type, type) and issubclass(self.type, expected)
            return [] if is_one else misfits(expected, self.fields)
        return [] if accepts(expected, self.type) else [f"{type_text(expected)} is expected"]

    def __str__(self) -> str:
        if self.type is Record and self.fields is not None:
            return "(" + ", ".join(f"{n}: {type_text(f.type)}" for n, f in self.fields.items()) + ")"
        return type_text(self.type)


UNKNOWN = Flow(Any)


def either(one: Flow, other: Flow) -> Flow:
    """What is known after one of two branches."""
    if one == other:
        return one
    if one.fields is None or other.fields is None:
        return UNKNOWN if UNKNOWN in (one, other) else Flow(Union[one.type, other.type])  # noqa: UP007 - types may be special forms
    common = {
        name: FieldType(kind.type if kind.type == other.fields[name].type else Any)
        for name, kind in one.fields.items()
        if name in other.fields
    }
    return Flow.record(common)
