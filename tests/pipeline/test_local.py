"""Random pipelines give what a trivially simple interpreter of the same recipe gives."""

import asyncio
import threading
import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep import Infeasible, RetryPolicy
from metta.sweep.contracts.errors import PipelineDefinitionError, StageFailed
from metta.sweep.experiments.base import Pipeline, Record
from tests.pipeline.recipes import Builder, If, Loop, Recipe, Sub, built, expected, recipes, small

Mistake = Literal["missing", "returns", "duplicate", "hook", "arity", "end_loop", "unclosed", "predicate"]


@dataclass(frozen=True)
class Wrong:
    mistake: Mistake


class WrongBuilder(Builder):
    """Builds recipes in which a mistake stands somewhere."""

    def add(self, step: Any, pipeline: Pipeline[Any], in_loop: bool) -> Pipeline[Any]:
        if isinstance(step, Wrong):
            return mistaken(pipeline, self.name(), step.mistake)
        return super().add(step, pipeline, in_loop)


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


@settings(max_examples=150, deadline=None)
@given(recipes(2), small, small)
def test_a_random_pipeline_gives_what_its_recipe_says(recipe: Recipe, x: int, y: int) -> None:
    result = built(recipe).run_local({"x": x, "y": y})
    assert (result.x, result.y) == expected(recipe, x, y)


@settings(max_examples=100, deadline=None)
@given(recipes(1), recipes(1), recipes(0), st.sampled_from(Mistake.__args__), st.integers(0, 3))  # type: ignore[attr-defined]
def test_a_random_wrong_pipeline_is_refused_before_anything_runs(
    before: Recipe, after: Recipe, around: Recipe, mistake: Mistake, place: int
) -> None:
    inner: Any = (*around, Wrong(mistake))
    wrong: Any = [Wrong(mistake), Sub(inner), If(around, inner), Loop(2, inner)][place]
    if mistake == "unclosed" and place == 3:
        wrong = Wrong(mistake)  # the loop around it would be left open instead
    with pytest.raises(PipelineDefinitionError):
        built((*before, wrong, *after), WrongBuilder).run_local({"x": 0, "y": 0})


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


def test_what_is_infeasible_is_not_tried_again() -> None:
    calls = []

    def senseless() -> None:
        calls.append("called")
        raise Infeasible("no model is that small")

    with pytest.raises(StageFailed) as caught:
        Pipeline().stage("train", senseless).through(retry=3).run_local()
    failure = caught.value.failure
    assert (failure.kind, failure.attempts, len(calls)) == ("infeasible", 1, 1)
