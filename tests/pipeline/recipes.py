"""Recipes: random pipelines as plain data, built in earnest, and worked out by a trivial interpreter."""

import asyncio
import tempfile
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias
from urllib.parse import quote

from hypothesis import strategies as st
from pydantic import Field

from metta.sweep import RetryPolicy, current_stage
from metta.sweep.experiments.base import Experiment, Pipeline


class State(NamedTuple):
    x: int
    y: int


Axis = Literal["x", "y"]
Way = Literal["name", "whole", "class", "async", "flaky", "rescued", "turn"]


@dataclass(frozen=True)
class Add:
    """Adds to a field; in one of several ways that have to come to the same."""

    field: Axis
    number: int
    way: Way
    kind: Literal["add"] = "add"


@dataclass(frozen=True)
class Split:
    """Adds to both fields side by side."""

    x: tuple[int, ...]
    y: tuple[int, ...]
    kind: Literal["split"] = "split"


@dataclass(frozen=True)
class Named:
    """Runs two recipes side by side, and takes what the second one gives from what the first one does."""

    a: "Recipe"
    b: "Recipe"
    kind: Literal["named"] = "named"


@dataclass(frozen=True)
class If:
    then: "Recipe"
    otherwise: "Recipe | None"
    kind: Literal["if"] = "if"


@dataclass(frozen=True)
class Loop:
    turns: int
    body: "Recipe"
    kind: Literal["loop"] = "loop"


@dataclass(frozen=True)
class Sub:
    body: "Recipe"
    kind: Literal["sub"] = "sub"


Step: TypeAlias = Annotated[Add | Split | Named | If | Loop | Sub, Field(discriminator="kind")]
Recipe: TypeAlias = tuple[Step, ...]


def expected(recipe: Recipe, x: int, y: int, turn: int = 0) -> tuple[int, int]:
    for step in recipe:
        match step:
            case Add("x", number, way):
                x += number + (turn if way == "turn" else 0)
            case Add("y", number, way):
                y += number + (turn if way == "turn" else 0)
            case Split():
                x, y = x + sum(step.x), y + sum(step.y)
            case Named():
                (ax, ay), (bx, by) = expected(step.a, x, y, turn), expected(step.b, x, y, turn)
                x, y = ax - bx, ay - by
            case If():
                x, y = expected(step.then if x % 2 == 0 else step.otherwise or (), x, y, turn)
            case Loop():
                for number in range(step.turns):
                    x, y = expected(step.body, x, y, number)
            case Sub():
                x, y = expected(step.body, x, y, turn)
    return x, y


class Builder:
    def __init__(self) -> None:
        self._names = count()

    def name(self) -> str:
        return f"s{next(self._names)}"

    def build(self, recipe: Recipe, pipeline: Pipeline[Any], *, in_loop: bool = False) -> Pipeline[Any]:
        for step in recipe:
            pipeline = self.add(step, pipeline, in_loop)
        return pipeline

    def inner(self, recipe: Recipe, in_loop: bool) -> Pipeline[Any]:
        return self.build(recipe, Pipeline(), in_loop=in_loop)

    def add(self, step: Any, pipeline: Pipeline[Any], in_loop: bool) -> Pipeline[Any]:
        match step:
            case Add():
                return added(pipeline, self.name(), step, in_loop)
            case Split():
                return pipeline.parallel([self.adding("x", step.x), self.adding("y", step.y)])
            case Named():
                branches = {"a": self.inner(step.a, in_loop), "b": self.inner(step.b, in_loop)}
                return (
                    pipeline.parallel(branches)
                    .stage(self.name(), lambda a, b: State(a.x - b.x, a.y - b.y))
                    .through(State)
                )
            case If():
                otherwise = None if step.otherwise is None else self.inner(step.otherwise, in_loop)
                return pipeline.conditional(lambda x: x % 2 == 0, self.inner(step.then, in_loop), otherwise)
            case Loop():
                looped = pipeline.loop_while(lambda iteration: iteration < step.turns, max_iterations=9)
                return self.build(step.body, looped, in_loop=True).end_loop()
            case Sub():
                return pipeline.stage(self.name(), self.inner(step.body, in_loop))
        raise AssertionError(step)

    def adding(self, field: Axis, numbers: tuple[int, ...]) -> Pipeline[Any]:
        return self.build(tuple(Add(field, number, "name") for number in numbers), Pipeline())


def fail_once() -> None:
    """Raise at every first attempt of a stage, in whatever processes its attempts are made."""
    mark = Path(tempfile.gettempdir(), f"begun-{quote(current_stage().key, safe='')}")
    if not mark.exists():
        mark.touch()
        raise OSError("once")
    mark.unlink()  # for a run of the same name


def added(pipeline: Pipeline[Any], name: str, step: Add, in_loop: bool) -> Pipeline[Any]:
    number, is_x = step.number, step.field == "x"
    fields: dict[str, Any] = {step.field: int}

    def flaky(**fields: int) -> int:
        fail_once()
        return fields[step.field] + number

    def broken(x: int, y: int) -> int:
        raise OSError("always")

    async def later(x: int, y: int) -> State:
        await asyncio.sleep(0)
        return State(x + number, y) if is_x else State(x, y + number)

    match step.way:
        case "name":
            function = (lambda x: x + number) if is_x else (lambda y: y + number)
            return pipeline.stage(name, function).through(**fields)
        case "whole":
            return pipeline.stage(name, lambda all: getattr(all, step.field) + number).through(**fields)
        case "class":

            def shifted(state: State) -> State:
                return State(state.x + number * is_x, state.y + number * (not is_x))

            return pipeline.stage(name, shifted).through(State, validate=lambda state: len(state) == 2)
        case "async":
            return pipeline.stage(name, later).through(x=int, y=int)
        case "flaky":
            return pipeline.stage(name, flaky).through(retry=RetryPolicy(max_attempts=2, initial=0), **fields)
        case "rescued":
            return pipeline.stage(name, broken).through(
                on_error=lambda error, data: getattr(data, step.field) + number, **fields
            )
        case "turn":
            if not in_loop:
                return added(pipeline, name, Add(step.field, number, "name"), in_loop)
            by_turn = (
                (lambda x, iteration: x + number + iteration)
                if is_x
                else (lambda y, iteration: y + number + iteration)
            )
            return pipeline.stage(name, by_turn).through(**fields)


small = st.integers(-3, 3)
adds = st.builds(
    Add,
    st.sampled_from(["x", "y"]),
    small,
    st.sampled_from(["name", "whole", "class", "async", "flaky", "rescued", "turn"]),
)


def recipes(depth: int) -> st.SearchStrategy[Recipe]:
    splits = st.builds(Split, *[st.lists(small, min_size=1, max_size=2).map(tuple)] * 2)
    if depth == 0:
        return st.lists(adds | splits, min_size=1, max_size=3).map(tuple)
    inner = recipes(depth - 1)
    step = st.one_of(
        adds,
        splits,
        st.builds(Named, inner, inner),
        st.builds(If, inner, st.none() | inner),
        st.builds(Loop, st.integers(0, 3), inner),
        st.builds(Sub, inner),
    )
    return st.lists(step, min_size=1, max_size=3).map(tuple)


def built(recipe: Recipe, builder: type[Builder] = Builder) -> Pipeline[Any]:
    return builder().build(recipe, Pipeline().through(x=int, y=int))


class Cooked(Experiment):
    """The pipeline of a recipe, which comes as JSON."""

    recipe: Recipe

    def pipeline(self) -> Pipeline[Any]:
        return built(self.recipe)
