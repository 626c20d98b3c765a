"""Columns: rows of plain values, and how they become flat.

A row keeps together what belongs together, ``{"trial": 3, "params": {"lr": 0.1}}``, and JSON Lines show it
so. What is flat has a column for each value, ``trial`` and ``params.lr``: with a prefix, for a metric may be
called ``cost`` or ``seconds``; with the one that MLflow gives them; and after it the whole dotted name.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Literal, NamedTuple, TypeAlias

from pydantic import JsonValue

from metta.sweep.contracts.distributions import Choice, Constant, Distribution, Ordinal

Row: TypeAlias = Mapping[str, Any]
"""JSON values and times by name; a group of values is a mapping of its own, or None."""

Kind: TypeAlias = Literal[
    "count",  # whole numbers without gaps
    "integer",  # whole numbers
    "number",
    "flag",  # True or False
    "text",
    "category",  # one of a few texts
    "time",
    "json",  # anything
]
"""What the values of a column are; all but ``count`` may have gaps."""

INT64 = 2**63


class Column(NamedTuple):
    """A column.

    Args:
        name: Name of the value.
        kind: What its values are.
        group: Group that it stands in; empty for one that stands in the row itself.
        categories: All values that a category may have.
        is_ordered: Whether they are ordered, the least first.
    """

    name: str
    kind: Kind
    group: str = ""
    categories: tuple[str, ...] = ()
    is_ordered: bool = False

    @property
    def title(self) -> str:
        """Its name with its group's before it.

        >>> Column("lr", "number", "params").title
        'params.lr'
        """
        return f"{self.group}.{self.name}" if self.group else self.name

    def of(self, row: Row) -> Any:
        """Its value in a row; None where there is none."""
        if not self.group:
            return row[self.name]
        group = row[self.group]
        return None if group is None else group.get(self.name)


class Rows(NamedTuple):
    """Rows, and the columns that they have when they are flat.

    Args:
        columns: Finds out which ones there are.
        read: Reads the rows from the beginning.
    """

    columns: Callable[[], Sequence[Column]]
    read: Callable[[], Iterator[Row]]


def numbers(group: str, metrics: Iterable[Mapping[str, float]], first: str | None = None) -> list[Column]:
    """Columns for all names in some mappings, in the order in which they come.

    Args:
        group: Their group.
        metrics: The mappings.
        first: The name that comes first, if it is among them.
    """
    names = dict.fromkeys(chain.from_iterable(metrics))
    ordered = sorted(names, key=lambda name: name != first)
    return [Column(name, "number", group) for name in ordered]


def param_column(name: str, distribution: Distribution | None, group: str = "params") -> Column:
    """The column of a parameter, after its distribution and not after what was drawn.

    >>> param_column("layers", Choice([1, 2])).kind, param_column("act", Choice(["relu", "elu"])).categories
    ('integer', ('relu', 'elu'))
    """
    values = [] if distribution is None else _examples(distribution)
    kind = _kind(values)
    if kind != "category":
        return Column(name, kind, group)
    categories = tuple(value for value in values if isinstance(value, str))
    return Column(name, kind, group, categories, isinstance(distribution, Ordinal))


def _examples(distribution: Distribution) -> Sequence[JsonValue]:
    """All separate values, or the ends of a range."""
    match distribution:
        case Choice() | Ordinal():
            return distribution.values
        case Constant():
            return [distribution.value]
    return [distribution.from_unit(0.0), distribution.from_unit(1.0)]


def _kind(values: Iterable[JsonValue]) -> Kind:
    types = {type(value) for value in values if value is not None}
    if types == {bool}:
        return "flag"
    if types == {int} and all(-INT64 <= v < INT64 for v in values if isinstance(v, int)):
        return "integer"
    if types and types <= {int, float}:
        return "number"
    return "category" if types == {str} else "json"


def time_of(seconds: float) -> datetime:
    """A time that was recorded, in seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC)


def text_of(value: object) -> str:
    """A value as a cell of text: JSON for what is neither text nor number, empty for nothing.

    >>> text_of(0.1), text_of("relu"), text_of(True), text_of([32, 16]), text_of(None)
    ('0.1', 'relu', 'true', '[32,16]', '')
    """
    if value is None or isinstance(value, str):
        return value or ""
    if type(value) in (int, float):  # by far the most of all cells
        return repr(value)
    return time_text(value) if isinstance(value, datetime) else json_of(value)


def json_of(value: object) -> str:
    """A value as JSON in as few characters as possible."""
    return _ENCODER.encode(value)


def time_text(time: datetime) -> str:
    """A time as all tools read it, always to the microsecond."""
    return time.isoformat(timespec="microseconds")


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=time_text)
