"""Plain values: how those of Python's own types are taken apart for JSON, and put together again."""

import re
from base64 import b64decode, b64encode
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from math import isfinite
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo


class Form(NamedTuple):
    """How values of a type are packed.

    Args:
        tag: Names the form in what is packed.
        kind: The type; not those derived from it.
        apart: A value as what is packed in its place.
        whole: The value again.
        is_ordered: Whether the items that it is taken apart into have an order.
    """

    tag: str
    kind: type
    apart: Callable[[Any], Any]
    whole: Callable[[Any], Any]
    is_ordered: bool = True


def pairs(mapping: Mapping[Any, Any]) -> list[list[Any]]:
    """The items of a mapping, in their order."""
    return [list(item) for item in mapping.items()]


def text_of(data: bytes) -> str:
    """Bytes as text."""
    return b64encode(data).decode()


def _bytes(text: str | bytes) -> bytes:
    """Of text, or of the file that stood in its place."""
    return text if isinstance(text, bytes) else b64decode(text, validate=True)


def _text(text: str) -> str:
    return _bytes(text).decode("utf-8", "surrogatepass")


def _moment(moment: datetime | time) -> list[Any]:
    """Text alone does not tell zones of one offset apart, nor the two half past two of a night in autumn."""
    return [moment.replace(tzinfo=None).isoformat(), moment.tzinfo, moment.fold]


def _at(kind: type[datetime] | type[time], parts: Iterable[Any]) -> datetime | time:
    text, zone, fold = parts
    return kind.fromisoformat(text).replace(tzinfo=zone, fold=fold)


FORMS = (
    Form("dict", dict, pairs, dict),
    Form("tuple", tuple, list, tuple),
    Form("set", set, list, set, is_ordered=False),
    Form("frozenset", frozenset, list, frozenset, is_ordered=False),
    Form("deque", deque, lambda d: [list(d), d.maxlen], lambda parts: deque(*parts)),
    Form("ordered", OrderedDict, pairs, OrderedDict),
    Form("counter", Counter, pairs, lambda parts: Counter(dict(parts))),
    Form("bytes", bytes, text_of, _bytes),
    Form("bytearray", bytearray, text_of, lambda text: bytearray(_bytes(text))),
    Form("complex", complex, lambda c: [c.real, c.imag], lambda parts: complex(*parts)),
    Form("decimal", Decimal, str, Decimal),
    Form("fraction", Fraction, str, Fraction),
    Form("uuid", UUID, str, UUID),
    Form("path", type(Path()), str, Path),
    Form("posixpath", PurePosixPath, str, PurePosixPath),
    Form("windowspath", PureWindowsPath, str, PureWindowsPath),
    Form("date", date, date.isoformat, date.fromisoformat),
    Form("datetime", datetime, _moment, lambda parts: _at(datetime, parts)),
    Form("time", time, _moment, lambda parts: _at(time, parts)),
    Form("timedelta", timedelta, lambda d: [d.days, d.seconds, d.microseconds], lambda p: timedelta(*p)),
    Form("timezone", timezone, lambda zone: [*zone.__getinitargs__()], lambda parts: timezone(*parts)),
    Form("zone", ZoneInfo, lambda zone: zone.key, ZoneInfo),
    Form("range", range, lambda r: [r.start, r.stop, r.step], lambda parts: range(*parts)),
    Form("slice", slice, lambda s: [s.start, s.stop, s.step], lambda parts: slice(*parts)),
    # those that JSON has no numbers and no text for
    Form("float", float, str, float),
    Form("int", int, hex, lambda text: int(text, 16)),
    Form("text", str, lambda text: text_of(text.encode("utf-8", "surrogatepass")), _text),
)
"""A dict is in it for keys that JSON has no names for."""


HUGE = 1 << 1024
"""Whole numbers from here on are not written as JSON numbers: some readers refuse them."""


_SURROGATES = re.compile("[\ud800-\udfff]")


def is_json(value: object) -> bool:
    """Whether JSON has a value as it is; that of an own type derived from one of these is another one."""
    kind = type(value)
    if kind is float and isinstance(value, float):
        return isfinite(value)
    if kind is int and isinstance(value, int):
        return -HUGE < value < HUGE
    if kind is str and isinstance(value, str):
        return value.isascii() or not _SURROGATES.search(value)
    return value is None or kind is bool
