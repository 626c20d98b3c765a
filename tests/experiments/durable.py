"""Experiments whose stages change their fields; the engine and local runs are to agree on them."""

import asyncio
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field

from metta.sweep import RetryPolicy, current_stage
from metta.sweep.experiments import Experiment
from metta.sweep.experiments.base import Pipeline

AT_ONCE = RetryPolicy(max_attempts=3, initial=0)


class Counting(Experiment):
    """Counts in a field, by assignment and in place, also in a loop."""

    base: int = 0
    total: int = 0
    seen: list[int] = Field(default_factory=list)

    def pipeline(self) -> Pipeline[Any]:
        return (
            Pipeline()
            .stage("begin", self.begin)
            .through(n=int)
            .loop_while(lambda n: self.total < self.base + 10)
            .stage("add", self.add)
            .through(n=int)
            .end_loop()
            .stage("end", self.end)
        )

    def begin(self) -> dict[str, int]:
        self.total = self.base
        return {"n": 0}

    def add(self, n: int) -> dict[str, int]:
        self.total += n + 1
        self.seen.append(n)
        return {"n": n + 1}

    def end(self) -> dict[str, Any]:
        return {"total": self.total, "seen": self.seen}


class Unsteady(Experiment):
    """Fails twice, after it has changed something."""

    tries: int = 0

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("try", self.attempt).through(int, retry=AT_ONCE).stage("tell", self.tell)

    def attempt(self) -> int:
        self.tries += 1
        marks = Path("tried")
        done = int(marks.read_text()) if marks.exists() else 0
        marks.write_text(str(done + 1))
        if done < 2:
            raise ValueError("not yet")
        return done

    def tell(self, done: int) -> list[int]:
        return [done, self.tries]


class Rescued(Experiment):
    """What a failed stage has changed is dropped, what its rescue changes stays."""

    lost: int = 0
    saved: int = 0

    def pipeline(self) -> Pipeline[Any]:
        rescued = Pipeline().stage("fall", self.fall).through(int, on_error=self.rescue)
        return rescued.stage("tell", self.tell)

    def fall(self) -> int:
        self.lost = 1
        raise ValueError("down")

    def rescue(self, error: Exception) -> int:
        self.saved = 1
        return 7

    def tell(self, n: int) -> list[int]:
        return [n, self.lost, self.saved]


class Branching(Experiment):
    """Two branches change different fields, or the same one."""

    same: bool = False
    left: int = 0
    right: int = 0

    def pipeline(self) -> Pipeline[Any]:
        both = Pipeline().parallel(
            {"one": Pipeline().stage("one", self.one), "two": Pipeline().stage("two", self.two)}
        )
        return both.stage("tell", self.tell)

    def one(self) -> dict[str, int]:
        self.left = 1
        return {"a": 1}

    def two(self) -> dict[str, int]:
        self.right = 2
        if self.same:
            self.left = 1
        return {"b": 2}

    def tell(self) -> list[int]:
        return [self.left, self.right]


class Large(Experiment):
    """A field too large to travel through the engine."""

    numbers: list[float] = Field(default_factory=list)

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("fill", self.fill).stage("sum", self.sum)

    def fill(self) -> int:
        self.numbers = [float(n) for n in range(5000)]
        return 1

    def sum(self, one: int) -> float:
        return one + sum(self.numbers)


class Mistaken(Experiment):
    """Each stage makes one mistake."""

    mistake: str = "undeclared"
    total: int = 0
    names: list[str] = Field(default_factory=list)

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("err", self.err)

    def err(self) -> int:
        wrong: Any = self
        match self.mistake:
            case "undeclared":
                wrong.totall = 1
            case "type":
                wrong.total = "many"
            case "in place":
                wrong.names.append(3)
            case "deleted":
                del wrong.total
        return 1


class Cached(Experiment):
    """A cached stage that reads a field, or changes one."""

    level: int = 1
    changes: bool = False

    def pipeline(self) -> Pipeline[Any]:
        return (
            Pipeline()
            .stage("raise", self.raised)
            .through(n=int)
            .stage("slow", self.slow)
            .through(n=int, cache=True)
        )

    def raised(self) -> dict[str, int]:
        self.level += 1
        return {"n": 1}

    def slow(self, n: int) -> dict[str, int]:
        with Path("slow").open("a") as runs:
            runs.write("run\n")
        if self.changes:
            self.level = 9
        return {"n": self.level}


class Predicted(Experiment):
    """Predicates and hooks see fields as they flow."""

    level: float = 0.0

    def pipeline(self) -> Pipeline[Any]:
        then, otherwise = Pipeline().stage("high", lambda n: "high"), Pipeline().stage("low", lambda n: "low")
        hooked = Pipeline().stage("set", self.set).through(n=float, metrics=self.told)
        return hooked.conditional(lambda n: self.level > 1, then, otherwise)

    def set(self) -> dict[str, float]:
        self.level = 2.0
        return {"n": 1.0}

    def told(self, flowing: Any) -> dict[str, float]:
        return {"level": self.level}


class Outer(Experiment):
    """An experiment that is a stage has fields of its own."""

    total: int = 5

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("mine", self.mine).stage("inner", Counting(base=1)).stage("tell", self.tell)

    def mine(self) -> None:
        self.total = 6

    def tell(self, whole: dict[str, Any]) -> list[int]:
        return [self.total, whole["total"]]


@dataclass
class Setting:
    """What a field may hold."""

    rate: float = 1.0


class Level(Enum):
    HIGH = "high"


class Unfit(Experiment):
    """Leaves a field in a way from which JSON does not lead back; a later stage would find another value."""

    how: str = "nested"
    setting: Setting = Field(default_factory=Setting)
    pairs: dict[tuple[int, int], float] = Field(default_factory=dict)
    level: Level | str = "low"
    more: Any = None
    rescued: bool = False

    def pipeline(self) -> Pipeline[Any]:
        hooks: dict[str, Any] = {"on_error": lambda error: 7} if self.rescued else {}
        return Pipeline().stage("spoil", self.spoil).through(int, **hooks).stage("tell", lambda n: n)

    def spoil(self) -> int:
        wrong: Any = self
        match self.how:
            case "nested":
                wrong.setting.rate = "fast"
            case "keys":
                wrong.pairs[1, 2] = 3.0
            case "union":
                wrong.level = Level.HIGH
            case "formless":
                wrong.more = {"a": object()}
        return 1


class Gathering(Experiment):
    """A set is the same in whatever order JSON has it; what is computed once is no field."""

    words: set[str] = Field(default_factory=set)

    def pipeline(self) -> Pipeline[Any]:
        filled = Pipeline().stage("fill", self.fill)
        branches = {name: Pipeline().stage(name, self.look) for name in ("one", "two")}
        return filled.parallel(branches).stage("tell", self.tell)

    @cached_property
    def table(self) -> int:
        return len(self.words)

    def fill(self) -> int:
        self.words |= {f"word {n}" for n in range(40)}
        return self.table

    def look(self) -> dict[str, int]:
        return {f"n{current_stage().path[-3:]}": self.table}

    def tell(self) -> int:
        return len(self.words)


class Merging(Experiment):
    """A predicate asked along with a stage may not change anything, and neither may any other."""

    level: int = 0

    def pipeline(self) -> Pipeline[Any]:
        first = Pipeline().stage("first", self.first)
        return first.conditional(self.wrong, Pipeline().stage("then", lambda n: n))

    def first(self) -> int:
        self.level = 2
        return 1

    def wrong(self, n: int) -> bool:
        self.level = 9
        return True


class Meeting(Experiment):
    """Two branches that wait for one another; it has no fields, of which they would have to take turns."""

    def pipeline(self) -> Pipeline[Any]:
        branches = {name: Pipeline().stage(name, getattr(self, name)) for name in ("wait", "come")}
        return Pipeline().parallel(branches)

    @cached_property
    def door(self) -> asyncio.Event:
        return asyncio.Event()

    async def wait(self) -> dict[str, int]:
        await asyncio.wait_for(self.door.wait(), timeout=10)
        return {"waited": 1}

    async def come(self) -> dict[str, int]:
        self.door.set()
        return {"came": 1}


class Bare(Experiment):
    """Has no fields, and assigns to one."""

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("err", self.err)

    def err(self) -> int:
        wrong: Any = self
        wrong.total = 1
        return 1
