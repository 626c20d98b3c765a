"""Sizes: which parts of a value take most of it."""

from collections.abc import Iterator
from typing import NamedTuple

from pydantic import BaseModel, JsonValue
from pydantic_core import to_json

SHARE = 0.8
"""A part that takes so much of a whole is named in place of it."""


class Part(NamedTuple):
    """A part of a value.

    Args:
        path: Where it is, names separated by dots.
        size: How many bytes it takes as JSON.
    """

    path: str
    size: int


def parts_of(value: BaseModel, least: float = 0.1) -> list[Part]:
    """The parts that take most of a value, the largest first.

    Args:
        value: The value.
        least: Smaller shares of it are left out.
    """
    data = value.model_dump(mode="json", by_alias=True)
    parts = sorted(_parts(data), key=lambda part: -part.size)
    total = sum(part.size for part in parts)
    return [part for part in parts if part.size >= least * total]


def bytes_text(size: int) -> str:
    """A size for people.

    >>> bytes_text(900), bytes_text(1536), bytes_text(2 * 1024**2)
    ('900 bytes', '1.5 KiB', '2.0 MiB')
    """
    if size < 1024:
        return f"{size} bytes"
    return f"{size / 1024:.1f} KiB" if size < 1024**2 else f"{size / 1024**2:.1f} MiB"


def _parts(data: dict[str, JsonValue]) -> Iterator[Part]:
    for name, value in data.items():
        yield _innermost(Part(name, _size(value)), value)


def _innermost(part: Part, value: JsonValue) -> Part:
    """The part of a part that takes nearly all of it."""
    if not isinstance(value, dict) or not value:
        return part
    largest = max(_parts(value), key=lambda inner: inner.size)
    return largest._replace(path=f"{part.path}.{largest.path}") if largest.size >= SHARE * part.size else part


def _size(value: JsonValue) -> int:
    return len(to_json(value))
