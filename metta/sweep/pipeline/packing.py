"""Packing: any value as JSON that tells its types, and back, in whatever process.

JSON's own values stand for themselves. Every other one is an object with a single key, which begins with a
dollar sign and names its form: ``{"$tuple": [1, 2]}``. What is large, or has a format of its own, is a file
in the store, whose name stands in its place: ``{"$array": [{"$blob": "1f..e9.npy"}]}``.
"""

import copy
import io
import json
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import IO, Any, NamedTuple

from pydantic import BaseModel, JsonValue

from metta.sweep.contracts.blobs import Blobs, Hashed, Write
from metta.sweep.contracts.errors import SweepError, shown
from metta.sweep.contracts.values import Value
from metta.sweep.pipeline.annotations import type_text
from metta.sweep.pipeline.arrays import File, filed
from metta.sweep.pipeline.classes import Classes, Unfindable
from metta.sweep.pipeline.plain import FORMS, is_json, text_of
from metta.sweep.pipeline.records import Record
from metta.sweep.pipeline.unpacking import (
    Misread,
    Restore,
    Unpacking,
    has_plain_start,
    is_named_tuple,
    is_plain_dataclass,
)

BLOB_BYTES = 1024
"""Up to this size bytes and arrays stand within the JSON."""

DEEPEST = 100
"""So many values may lie inside one another; a value is up to three levels of JSON."""

DEEPEST_INLINE = 100
"""So many levels of JSON travel through the engine, whose readers stop at 200."""


class Unpackable(SweepError):
    """A value, or one inside it, cannot be packed.

    Args:
        value: The value.
        why: What is wrong with it.
        way_out: What the user can do.
    """

    def __init__(self, value: object, why: str, way_out: str = "") -> None:
        self.value, self.why, self.way_out = value, why, way_out
        self.path = ""

    def __str__(self) -> str:
        where = self.path.removeprefix(".") or shown(self.value)
        where = where if len(where) <= 200 else f"{where[:100]} ... {where[-100:]}"
        ways = ["give serialize=..., which returns bytes, text or JSON", *filter(None, [self.way_out])]
        return f"{where} cannot be sent or stored: {self.why}; {', or '.join(ways)}"


class Serialized(NamedTuple):
    """What a ``serialize`` hook made of a value that cannot be packed.

    Args:
        stage: Path of the stage that it belongs to, which tells how it is read.
        form: What the hook returned: bytes, text or JSON.
    """

    stage: str
    form: Any

    @property
    def data(self) -> bytes:
        """The form as bytes; raises what ``readable`` does."""
        return self.readable if isinstance(self.readable, bytes) else self.readable.encode()

    @property
    def readable(self) -> bytes | str:
        """The form as text, where it is not bytes.

        Raises:
            Unpackable: When it is nothing that a hook may return.
        """
        if isinstance(self.form, bytes | str):
            return self.form
        try:
            return json.dumps(self.form)
        except (TypeError, ValueError) as error:
            raise Unpackable(self.form, f"serialize returned it, and JSON cannot hold it: {error}") from error


class Packer:
    """Packs values, and makes them again.

    Args:
        blobs: Where large values are kept.
        pickle: Whether what has no form of its own may be pickled, and read from pickles.
        classes: Types that flow: what they consist of is found even where no module has it.
        restore: Reads what ``serialize`` hooks made.
    """

    def __init__(
        self, blobs: Blobs, *, pickle: bool, classes: Iterable[Any] = (), restore: Restore | None = None
    ) -> None:
        self.blobs, self.pickle, self.restore = blobs, pickle, restore
        self.classes = Classes(classes)

    def with_blobs(self, blobs: Blobs) -> "Packer":
        """The same packer with another place for large values."""
        other = copy.copy(self)
        other.blobs = blobs
        return other

    def pack(self, value: Any) -> JsonValue:
        """A value as JSON; large parts of it are put into the store.

        Raises:
            Unpackable: When it, or something inside it, has no form.
            StoreError: When the store cannot be written to.
        """
        try:
            return _Packing(self).packed(value)
        except RecursionError as error:  # who calls it may have little room left
            raise Unpackable(value, "its parts lie too deeply inside one another") from error

    def unpack(self, packed: JsonValue) -> Any:
        """The value that was packed.

        Raises:
            Misread: When it is damaged, or its classes have changed or cannot be found.
            StoreError: When a part of it is missing from the store, or damaged.
        """
        try:
            return Unpacking(self).value(packed)
        except SweepError:
            raise
        except Exception as error:  # of damaged JSON, and of code of the user's classes
            raise Misread(f"what was packed cannot be read: {type(error).__name__}: {error}") from error

    def to_json(self, value: Any) -> bytes:
        """A value as JSON text; raises what ``pack`` does."""
        return json.dumps(self.pack(value), ensure_ascii=False).encode()

    def from_json(self, data: bytes) -> Any:
        """The value of JSON text; raises what ``unpack`` does."""
        try:
            packed = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise Misread(f"what was packed cannot be read: {error}") from error
        return self.unpack(packed)

    def kept(self, value: Any, limit_bytes: int) -> Value:
        """A value that can travel: itself when it is small, else its name in the store.

        Raises:
            Unpackable: When it, or something inside it, has no form.
            StoreError: When the store cannot be written to.
        """
        packed = self.pack(value)
        data = json.dumps(packed, ensure_ascii=False).encode()
        if len(data) <= limit_bytes and _depth(packed) <= DEEPEST_INLINE:
            return Value(packed=packed)
        return Value(kept=self.blobs.put("json", lambda file: file.write(data)))

    def unkept(self, value: Value) -> Any:
        """What ``kept`` was given; raises what ``unpack`` does."""
        if value.kept is None:
            return self.unpack(value.packed)
        with self.blobs.open(value.kept) as file:
            return self.from_json(file.read())


class Hashes:
    """Takes blobs for the sake of their names alone."""

    store = ""

    def put(self, suffix: str, write: Write) -> str:
        """The name under which a store would keep it."""
        stream = Hashed()
        write(stream)
        return stream.name(suffix)

    def open(self, name: str) -> IO[bytes]:
        """Nothing was kept."""
        raise NotImplementedError


def canonical(packed: JsonValue) -> bytes:
    """The same bytes for equal values, in whatever order their dicts were filled."""
    return json.dumps(_in_order(packed), sort_keys=True).encode()


def _in_order(packed: JsonValue) -> Any:
    match packed:
        case list():
            return [_in_order(item) for item in packed]
        case {"$dict": list(items)}:
            return {"$dict": sorted(map(_in_order, items), key=canonical)}
        case dict():
            return {name: _in_order(item) for name, item in packed.items()}
    return packed


def _depth(packed: JsonValue) -> int:
    items = packed if isinstance(packed, list) else packed.values() if isinstance(packed, dict) else ()
    return 1 + max(map(_depth, items), default=0)


_BY_KIND = {form.kind: form for form in FORMS}


class _Packing:
    """One value's way into JSON."""

    def __init__(self, packer: Packer) -> None:
        self._blobs, self._classes, self._may_pickle = packer.blobs, packer.classes, packer.pickle
        self._around: set[int] = set()
        """Identities of the values around the one that is packed."""

    def packed(self, value: Any) -> JsonValue:
        if is_json(value):
            return value  # type: ignore[no-any-return] # it was just looked at
        if id(value) in self._around:
            raise Unpackable(value, "it holds itself")
        if len(self._around) >= DEEPEST:
            raise Unpackable(value, f"more than {DEEPEST} values lie inside one another")
        self._around.add(id(value))
        try:
            return self._formed(value)
        finally:
            self._around.discard(id(value))

    def _formed(self, value: Any) -> JsonValue:
        kind = type(value)
        if kind is list:
            return self._items(value)
        if kind is dict and all(type(key) is str and key[:1] != "$" and is_json(key) for key in value):
            return self._fields(value, "[{!r}]")
        if kind in (bytes, bytearray) and len(value) > BLOB_BYTES:
            return {f"${_BY_KIND[kind].tag}": self._file(File("bin", lambda file: file.write(value)))}
        if form := _BY_KIND.get(kind):
            return {f"${form.tag}": self._apart(form.apart(value), form.is_ordered)}
        try:
            return self._object(value, kind)
        except Unfindable as error:
            return self._pickled(value, str(error))

    def _apart(self, parts: Any, is_ordered: bool) -> JsonValue:
        if not isinstance(parts, list):
            return self.packed(parts)
        items = self._items(parts)
        return items if is_ordered else sorted(items, key=canonical)

    def _object(self, value: Any, kind: Any) -> JsonValue:
        if hasattr(kind, "__pack__"):
            return {"$own": [self._classes.name(kind), self.packed(value.__pack__())]}
        if isinstance(value, Enum):
            is_member = value.name in kind.__members__
            return {"$enum": [self._classes.name(kind), value.name if is_member else {"flag": value.value}]}
        if kind is Record:
            return {"$record": self._attributes(vars(value))}
        if kind is Serialized:
            return {"$serialized": [value.stage, self.packed(value.readable)]}
        if is_named_tuple(kind):
            return {"$named": [self._classes.name(kind), self._attributes(value._asdict())]}
        if is_plain_dataclass(kind):
            return {"$dataclass": [self._classes.name(kind), self._attributes(_state(value))]}
        if isinstance(value, BaseModel) and has_plain_start(kind):
            return {"$model": [self._classes.name(kind), *self._model(value)]}
        return self._filed(value)

    def _items(self, items: list[Any]) -> list[Any]:
        return list(self._each(enumerate(items), "[{}]"))

    def _attributes(self, attributes: dict[str, Any]) -> JsonValue:
        """A dict of names, whatever they begin with: it always stands behind a key that says what it is."""
        return self._fields(attributes, ".{}")

    def _fields(self, fields: dict[str, Any], step: str) -> JsonValue:
        return dict(zip(fields, self._each(fields.items(), step), strict=True))

    def _each(self, items: Iterable[tuple[Any, Any]], step: str) -> Iterator[Any]:
        for name, item in items:
            try:
                yield item if is_json(item) else self.packed(item)
            except Unpackable as error:
                error.path = step.format(name) + error.path
                raise

    def _model(self, model: BaseModel) -> list[Any]:
        state = BaseModel.__getstate__(model)
        rest = {
            "set": sorted(state["__pydantic_fields_set__"]),
            "extra": state["__pydantic_extra__"],
            "private": state["__pydantic_private__"],
        }
        return [self._attributes(state["__dict__"]), self._attributes(rest)]

    def _filed(self, value: Any) -> JsonValue:
        try:
            form = filed(value)
            if form is not None:
                return {f"${form.tag}": [self._part(part) for part in form.parts]}
        except SweepError:
            raise
        except Exception as error:  # libraries have errors of their own for what their formats cannot hold
            return self._pickled(value, f"{type(error).__name__}: {error}")
        return self._pickled(value, f"{type_text(type(value))} has no form of its own")

    def _part(self, part: Any) -> JsonValue:
        return self._file(part) if isinstance(part, File) else self.packed(part)

    def _file(self, file: File) -> JsonValue:
        if file.size is None or file.size > BLOB_BYTES:
            return {"$blob": self._blobs.put(file.suffix, file.write)}
        buffer = io.BytesIO()
        file.write(buffer)
        return text_of(buffer.getvalue())

    def _pickled(self, value: Any, why: str) -> JsonValue:
        if not self._may_pickle:
            raise Unpackable(
                value, why, "allow pickle: `pickle = true` under [tool.metta-sweep] in pyproject.toml"
            )
        from metta.sweep.pipeline.pickling import dump  # 10 ms that others need not pay

        try:
            return {"$pickle": {"$blob": self._blobs.put("pkl", lambda file: dump(value, file))}}
        except SweepError:
            raise
        except Exception as error:  # pickling runs the user's code
            raise Unpackable(value, f"it cannot be pickled: {type(error).__name__}: {error}") from error


def _state(value: Any) -> dict[str, Any]:
    """All attributes of an object, those in slots too; past what its class says of pickling."""
    state: Any = object.__getstate__(value)
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    return {**(attributes or {}), **(slots or {})}
