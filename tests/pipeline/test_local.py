"""Random pipelines give what a trivially simple interpreter of the same recipe gives."""

import asyncio
import threading
import time
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep import RetryPolicy
from metta.sweep.contracts.errors import PipelineDefinitionError, StageFailed
from metta.sweep.experiments.base import Pipeline, Record


class State(NamedTuple):
    x: int
    y: int


Field = Literal["x", "y"]
Mistake = Literal["missing", "returns", "duplicate", "hook", "arity", "end_loop", "unclosed", "predicate"]


@dataclass(frozen=True)
class Add:
    """Adds to a field; in one of several ways that have to come to the same."""

    field: Field
    number: int
    way: Literal["name", "whole", "class", "async", "flaky", "rescued", "turn"]


@dataclass(frozen=True)
class Split:
    """Adds to both fields side by side."""

    x: tuple[int, ...]
    y: tuple[int, ...]


@dataclass(frozen=True)
class Named:
    """Runs two recipes side by side, and adds up what they give."""

    a: "Recipe"
    b: "Recipe"


@dataclass(frozen=True)
class If:
    then: "Recipe"
    otherwise: "Recipe | None"


@dataclass(frozen=True)
class Loop:
    turns: int
    body: "Recipe"


@dataclass(frozen=True)
class Sub:
    body: "Recipe"


@dataclass(frozen=True)
class Wrong:
    mistake: Mistake


Recipe = tuple[Any, ...]


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
                x, y = ax + bx, ay + by
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
                    .stage(self.name(), lambda a, b: State(a.x + b.x, a.y + b.y))
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
            case Wrong():
                return mistaken(pipeline, self.name(), step.mistake)
        raise AssertionError(step)

    def adding(self, field: Field, numbers: tuple[int, ...]) -> Pipeline[Any]:
        return self.build(tuple(Add(field, number, "name") for number in numbers), Pipeline())


def added(pipeline: Pipeline[Any], name: str, step: Add, in_loop: bool) -> Pipeline[Any]:
    number, is_x = step.number, step.field == "x"
    fields: dict[str, Any] = {step.field: int}
    failures = iter([True])

    def flaky(**fields: int) -> int:
        if next(failures, False):
            raise OSError("once")
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
            # what is asked for the first time may be asked again in a later turn, where nothing fails
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


def mistaken(pipeline: Pipeline[Any], name: str, mistake: Mistake) -> Pipeline[Any]:
    no_arguments: dict[str, Any] = {"log": lambda: 0}

    def text(x: int) -> str:
        return str(x)

    match mistake:
        case "missing":
            return pipeline.stage(name, lambda x, missing: x).through(x=int)
        case "returns":
            return pipeline.stage(name, text).through(x=int)
        case "duplicate":
            twice = pipeline.stage(name, lambda x: x).through(x=int)
            return twice.stage(name, lambda x: x).through(x=int)
        case "hook":
            return pipeline.stage(name, lambda x: x).through(x=int, retyr=3)
        case "arity":
            return pipeline.stage(name, lambda x: x).through(x=int, **no_arguments)
        case "end_loop":
            return pipeline.end_loop().end_loop().end_loop().end_loop()
        case "unclosed":
            return pipeline.loop_while(lambda x: False).stage(name, lambda x: x).through(x=int)
        case "predicate":
            return pipeline.conditional(lambda x, missing: True, Pipeline().through(x=int))


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


def built(recipe: Recipe) -> Pipeline[Any]:
    return Builder().build(recipe, Pipeline().through(x=int, y=int))


@settings(max_examples=150, deadline=None)
@given(recipes(2), small, small)
def test_a_random_pipeline_gives_what_its_recipe_says(recipe: Recipe, x: int, y: int) -> None:
    result = built(recipe).run_local({"x": x, "y": y})
    assert (result.x, result.y) == expected(recipe, x, y)


def places(recipe: Recipe) -> int:
    return len(recipe) + 1


@settings(max_examples=100, deadline=None)
@given(recipes(1), recipes(1), recipes(0), st.sampled_from(Mistake.__args__), st.integers(0, 3))  # type: ignore[attr-defined]
def test_a_random_wrong_pipeline_is_refused_before_anything_runs(
    before: Recipe, after: Recipe, around: Recipe, mistake: Mistake, place: int
) -> None:
    inner = (*around, Wrong(mistake))
    wrong = [Wrong(mistake), Sub(inner), If(around, inner), Loop(2, inner)][place]
    if mistake == "unclosed" and place == 3:
        wrong = Wrong(mistake)  # the loop around it would be left open instead
    with pytest.raises(PipelineDefinitionError):
        built((*before, wrong, *after)).run_local({"x": 0, "y": 0})


def test_branches_run_side_by_side_and_each_on_its_own_copy() -> None:
    meeting = threading.Barrier(3, timeout=30)

    def spoil(items: list[int]) -> int:
        meeting.wait()
        items.append(1)
        return len(items)

    pipeline = Pipeline().through(items=list[int]).parallel({"a": spoil, "b": spoil, "c": spoil})
    assert pipeline.run_local({"items": []}) == Record(items=[], a=1, b=1, c=1)


async def test_a_local_run_works_inside_a_running_loop() -> None:
    async def stage(x: int) -> int:
        await asyncio.sleep(0)
        return x + 1

    assert Pipeline().stage("s", stage).run_local(1) == 2
    with pytest.raises(StageFailed):
        Pipeline().stage("s", stage).run_local("text")


@pytest.mark.parametrize(
    ("predicate", "told"),
    [
        (lambda x: 1 / 0, "its predicate: ZeroDivisionError: division by zero"),
        (lambda x: "yes", "its predicate has to return True or False, got 'yes'"),
        (lambda x: np.ones(2), "its predicate has to return True or False, got array"),
    ],
)
def test_a_predicate_that_does_not_answer_fails_the_run(predicate: Any, told: str) -> None:
    with pytest.raises(StageFailed, match=f"stage @if failed: {told}"):
        Pipeline().conditional(predicate, len).run_local(1)


def test_a_stage_that_gets_or_gives_something_else_than_it_says_fails_for_good() -> None:
    asked: list[int] = []

    def wrong(x: int) -> str:
        asked.append(x)
        return x  # type: ignore[return-value]

    again = RetryPolicy(max_attempts=3, initial=0)
    with pytest.raises(
        StageFailed, match="stage s failed: its output: it does not fit str: input should be a valid string"
    ):
        Pipeline().stage("s", wrong).through(retry=again).run_local(1)
    with pytest.raises(
        StageFailed, match="stage s failed: its input: it does not fit int: input should be a valid integer"
    ):
        Pipeline().stage("s", wrong).through(retry=again).run_local("text")
    assert asked == [1]


def test_the_input_is_left_as_it_was() -> None:
    items = [1]
    assert Pipeline().stage("s", lambda items: items.append(2) or items).run_local(items) == [1, 2]
    assert items == [1]


def test_a_loop_of_thousands_of_turns_is_quick() -> None:
    began = time.perf_counter()
    pipeline = Pipeline().loop_while(lambda x: x < 3000).stage("s", lambda x: x + 1).end_loop()
    assert pipeline.run_local(0) == 3000
    assert time.perf_counter() - began < 30
