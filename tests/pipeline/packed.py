"""Values of every kind, and what tells one from another."""

import dataclasses
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum, auto
from fractions import Fraction
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
from pydantic import BaseModel, PrivateAttr, RootModel

from metta.sweep.contracts.values import Value
from metta.sweep.pipeline.packing import Packer
from metta.sweep.pipeline.records import Record

T = TypeVar("T")


class Colour(Enum):
    RED = "red"
    BLUE = (1, "blue")


class Size(IntEnum):
    SMALL = 1


class Access(Flag):
    READ = auto()
    WRITE = auto()


class Point(NamedTuple):
    x: Any
    y: Any = 0


@dataclass
class Line:
    start: Any
    names: list[Any] = field(default_factory=list)
    length: int = field(init=False, default=3)

    def __post_init__(self) -> None:
        self.beside = "it is no field"


@dataclass(frozen=True, slots=True)
class Frozen:
    a: Any
    b: Any = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "b", [self.a])


@dataclass
class LongLine(Line):
    width: float = 1.0


class Inner(BaseModel):
    at: Path
    when: datetime | None = None


class Outer(BaseModel, extra="allow"):
    inner: Inner | list[Inner]
    size: int | float | str = 1
    _seen: list[int] = PrivateAttr(default_factory=list)


class Box(BaseModel, Generic[T]):
    content: T


class Numbers(RootModel[list[int]]):
    pass


class Own:
    """A class with a form of its own."""

    def __init__(self, name: str, store: str = "") -> None:
        self.name, self.store = name, store

    def __pack__(self) -> Any:
        return {"$name": self.name}

    @classmethod
    def __unpack__(cls, packed: Any, store: str) -> "Own":
        return cls(packed["$name"], store)


class Other:
    """A class that has no form."""

    def __init__(self, held: Any = None) -> None:
        self.held = held


def outer() -> Outer:
    inner = Inner(at=Path("a/b"), when=datetime(2020, 1, 1, tzinfo=UTC))
    made = Outer.model_validate({"inner": [inner], "size": 1.0, "more": {"$a": 1}})
    made._seen.append(3)
    return made


BERLIN = ZoneInfo("Europe/Berlin")
AUTUMN = datetime(2020, 10, 25, 2, 30, tzinfo=BERLIN)

KINDS: list[Any] = [
    *(None, True, 0, -1, 1.0, -0.0, 1e300, "", "text", "\ud800 half a letter", "ünï"),
    *(float("inf"), float("-inf"), float("nan"), 2**64, 10**400, -(10**400), 1e22, 123456789012345678),
    *([], [1, [2.0, "a"]], (), (1,), ((1, 2), [3]), {}, {"a": 1, "b": [None]}, {"b": 1, "a": 2}),
    *({"$tuple": 1}, {"$": 1, "a": 2}, {1: "a", "1": "b", (1, 2): None, None: 0}, {"\ud800": 1}, {True: 1}),
    *(set(), {1, "a", (2, 3)}, frozenset({1.5}), {frozenset({1})}),
    *(b"", b"\x00\xff", b"x" * 5000, bytearray(b"ab"), bytearray(5000)),
    *(1j, complex("nan+infj"), Decimal("1.10"), Decimal("sNaN"), Fraction(1, 3), UUID(int=3)),
    *(Path("a/../b"), Path("/"), PurePosixPath("a"), PureWindowsPath("c:\\a")),
    *(date(2020, 2, 29), time(1, 2, 3, 4), time(1, tzinfo=UTC), timedelta(-1, 2, 3)),
    *(datetime(2020, 1, 1), datetime(1, 1, 1, 0, 0, 0, 1, tzinfo=UTC), AUTUMN, AUTUMN.replace(fold=1)),
    *(datetime(2020, 1, 1, tzinfo=timezone(timedelta(hours=1), "mine")), timezone(timedelta(1, -1)), BERLIN),
    *(range(3), range(0, -9, -2), slice(1, None, 2)),
    *(deque([1, 2], maxlen=3), OrderedDict(b=1, a=2), Counter("aab")),
    *(Colour.RED, Colour.BLUE, Size.SMALL, Access.READ, Access.READ | Access.WRITE, Access(0)),
    *(Record(), Record(a=1, b=Point(1, [Point(2)])), Record(**{"$a": 1})),
    *(Line(Point(1.0), ["a"]), LongLine(1, width=2), Frozen(1), Frozen({"$": Frozen(2)})),
    *(Inner(at=Path("x")), outer(), Outer(inner=Inner(at=Path()), size="1"), Numbers([1, 2])),
    *(Box[int](content=1), Box[Inner | None](content=None), Box[list[Box[str]]](content=[Box(content="a")])),
    *(np.arange(3), np.arange(3000.0).reshape(3, -1).T, np.array(5, ">i2"), np.zeros((0, 3), bool)),
    *(np.array([(1, "a")], dtype=[("n", "i4"), ("t", "U2")]), np.array(["2020-01-01"], "datetime64[D]")),
    *(np.float32(0.1), np.float64("nan"), np.int8(-1), np.bool_(True), np.str_("a"), np.timedelta64(3, "s")),
    {"all": [np.ones(2), Colour.RED, {Point(1): {"deep": Line(None)}}]},
]

KIND_IDS = [f"{n}-{type(value).__name__}" for n, value in enumerate(KINDS)]
"""Names that are the same in every process: the text of a set is not."""


def told(value: Any) -> Any:
    """All that can be seen of a value, its types too."""
    kind = type(value)
    if kind in (set, frozenset):
        return kind, sorted(repr(told(item)) for item in value)
    if isinstance(value, dict):
        return kind, [(told(key), told(item)) for key, item in value.items()]
    if isinstance(value, list | tuple | deque):
        return kind, [told(item) for item in value], getattr(value, "maxlen", None)
    if isinstance(value, BaseModel):
        return kind, told(value.__getstate__())
    if isinstance(value, Record):
        return kind, told(vars(value))
    if dataclasses.is_dataclass(value):
        names = dict.fromkeys([f.name for f in dataclasses.fields(value)] + [*getattr(value, "__dict__", ())])
        return kind, [(name, told(getattr(value, name))) for name in names]
    if isinstance(value, np.ndarray | np.generic):
        return kind, value.dtype, value.shape, value.tobytes()
    return kind, repr(value)


def there_and_back(packer: Packer, value: Any, limit_bytes: int = 4096) -> Any:
    """A value that has travelled to another process."""
    sent = packer.kept(value, limit_bytes).model_dump_json()
    return packer.unkept(Value.model_validate_json(sent))
