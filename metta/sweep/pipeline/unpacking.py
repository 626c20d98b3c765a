"""Unpacking: values that were packed, made again."""

import dataclasses
import io
from collections.abc import Callable, Iterable
from enum import Enum, Flag
from typing import IO, TYPE_CHECKING, Any

from pydantic import BaseModel, JsonValue

from metta.sweep.contracts.errors import SweepError
from metta.sweep.pipeline.annotations import type_text
from metta.sweep.pipeline.arrays import READERS
from metta.sweep.pipeline.plain import FORMS
from metta.sweep.pipeline.records import Record

if TYPE_CHECKING:
    from metta.sweep.pipeline.packing import Packer

Restore = Callable[[str, bytes], Any]
"""Makes what flowed behind a stage of what its ``serialize`` gave; takes the stage's path first."""


class Misread(SweepError):
    """What was packed cannot be read: it is damaged, or its classes have changed."""


def has_plain_start(kind: type) -> bool:
    """Whether nothing of a value is hidden in what C code made."""
    start: object = kind.__new__
    return start is object.__new__


def is_plain_dataclass(kind: type) -> bool:
    """Whether all that its values hold are attributes."""
    return dataclasses.is_dataclass(kind) and has_plain_start(kind)


def is_named_tuple(kind: type) -> bool:
    """Whether its values are tuples whose items have names."""
    return issubclass(kind, tuple) and hasattr(kind, "_fields")


_BY_TAG = {form.tag: form for form in FORMS}


class Unpacking:
    """The way of packed values back.

    Args:
        packer: Says where large values are kept, and what is allowed.
    """

    def __init__(self, packer: "Packer") -> None:
        self._packer = packer
        self._makers: dict[str, Callable[[Any], Any]] = {
            "blob": self._bytes,
            "own": self._own,
            "enum": self._enum,
            "record": lambda fields: Record(**self._fields(fields)),
            "serialized": self._serialized,
            "named": self._named,
            "dataclass": self._dataclass,
            "model": self._model,
            "pickle": self._pickle,
        }

    def value(self, packed: Any) -> Any:
        """The value that was packed; errors of its parts are passed on."""
        if isinstance(packed, list):
            return [self.value(item) for item in packed]
        if not isinstance(packed, dict):
            return packed
        if len(packed) == 1 and (key := next(iter(packed))).startswith("$"):
            return self._made(key.removeprefix("$"), packed[key])
        return self._fields(packed)

    def _made(self, tag: str, content: Any) -> Any:
        if form := _BY_TAG.get(tag):
            return form.whole(self.value(content))
        if reader := READERS.get(tag):
            with self._opened(content[0]) as file:
                return reader(file, *map(self.value, content[1:]))
        if maker := self._makers.get(tag):
            return maker(content)
        raise Misread(f"what was packed cannot be read: {f'${tag}':.80} names no form that is known here")

    def _fields(self, fields: dict[str, Any]) -> dict[str, Any]:
        return {name: self.value(field) for name, field in fields.items()}

    def _opened(self, content: Any) -> IO[bytes]:
        if isinstance(content, dict):
            return self._packer.blobs.open(content["$blob"])
        return io.BytesIO(_BY_TAG["bytes"].whole(content))

    def _bytes(self, name: str) -> bytes:
        with self._packer.blobs.open(name) as file:
            return file.read()

    def _class(self, name: JsonValue, fits: Callable[[Any], bool]) -> Any:
        """A class that what was packed names: nothing else that it names is ever called."""
        found = self._packer.classes.find(name)
        if not fits(found):
            raise Misread(f"what was packed cannot be read: {name} is not a class of such values")
        return found

    def _own(self, content: Any) -> Any:
        name, packed = content
        kind = self._class(name, lambda kind: hasattr(kind, "__unpack__"))
        return kind.__unpack__(self.value(packed), self._packer.blobs.store)

    def _enum(self, content: Any) -> Any:
        name, member = content
        if isinstance(member, dict):
            return self._class(name, lambda kind: issubclass(kind, Flag))(member["flag"])
        return self._class(name, lambda kind: issubclass(kind, Enum))[member]

    def _serialized(self, content: Any) -> Any:
        stage, form = content[0], self.value(content[1])
        if self._packer.restore is None:  # who reads it knows nothing of its type
            return form
        return self._packer.restore(stage, form if isinstance(form, bytes) else form.encode())

    def _named(self, content: Any) -> Any:
        name, fields = content
        kind = self._class(name, is_named_tuple)
        _refuse(kind, set(kind._fields) ^ set(fields))
        return tuple.__new__(kind, [self.value(fields[field]) for field in kind._fields])

    def _dataclass(self, content: Any) -> Any:
        name, fields = content
        kind = self._class(name, is_plain_dataclass)
        made = object.__new__(kind)
        for field, value in fields.items():
            object.__setattr__(made, field, self.value(value))
        _refuse(kind, [f.name for f in dataclasses.fields(kind) if f.init and not hasattr(made, f.name)])
        return made

    def _model(self, content: Any) -> Any:
        name, fields, rest = content
        kind = self._class(name, lambda kind: issubclass(kind, BaseModel))
        _refuse(kind, kind.model_fields.keys() - fields.keys())
        made = object.__new__(kind)
        state = {
            "__dict__": self._fields(fields),
            "__pydantic_fields_set__": set(rest["set"]),
            "__pydantic_extra__": self.value(rest["extra"]),
            "__pydantic_private__": self.value(rest["private"]),
        }
        BaseModel.__setstate__(made, state)
        return made

    def _pickle(self, content: Any) -> Any:
        if not self._packer.pickle:
            raise Misread(
                "what was packed is pickled, and reading that runs code; to allow it set `pickle = true`"
                " under [tool.metta-sweep] in pyproject.toml"
            )
        from metta.sweep.pipeline.pickling import load

        with self._opened(content) as file:
            return load(file)


def _refuse(kind: type, strange: Iterable[str]) -> None:
    if names := ", ".join(sorted(strange)):
        raise Misread(f"{type_text(kind)} had other fields when a value of it was packed: {names}")
