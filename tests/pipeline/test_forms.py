"""The forms of the documentation, together as people write them."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

from metta.sweep.contracts.errors import PipelineDefinitionError, StageFailed
from metta.sweep.experiments.base import Pipeline, Record


class Task(NamedTuple):
    name: str


@dataclass
class Result:
    results: dict[str, int]


@dataclass
class Course:
    tasks: list[str]
    current_stage: int = 0
    done: list[str] = field(default_factory=list)


class Curriculum:
    def choose(self, ctx: Any) -> dict[str, Any]:
        return {"current_task": Task(ctx.tasks[ctx.iteration]), "current_stage": ctx.current_stage + 1}

    async def execute(self, current_task: Task, iteration: int) -> Result:
        return Result({current_task.name: iteration})

    def pipeline(self) -> Pipeline[Any]:
        return (
            Pipeline()
            .loop_while(lambda ctx: ctx.current_stage < len(ctx.tasks))
            .stage("choose", self.choose)
            .through(current_task=Task)
            .stage("run", self.execute)
            .through(results=dict)
            .end_loop()
        )


def test_a_loop_over_tasks_with_methods_and_fields() -> None:
    result = Curriculum().pipeline().run_local(Course(["a", "b"]))
    assert result == Record(
        tasks=["a", "b"], current_stage=2, done=[], current_task=Task("b"), results={"b": 1}
    )


def test_a_missing_field_is_refused_by_its_name() -> None:
    def train(run_name: str, run_id: int, trials: list[int]) -> None: ...

    pipeline = Pipeline().stage("suggest", list).through(trials=list[int], run_id=int)
    with pytest.raises(PipelineDefinitionError, match="it takes run_name, but"):
        pipeline.stage("train", train).plan()


def test_iteration_counts_whatever_flows() -> None:
    def step(tasks: list[str], done: list[str], iteration: int) -> Course:
        return Course(tasks, 0, [*done, str(iteration)])

    def run(pipeline: Pipeline[Any], value: Any) -> Any:
        looped = pipeline.loop_while(lambda ctx: ctx.iteration < 2).stage("s", step).end_loop()
        return looped.run_local(value)

    twice = Course([], 0, ["0", "1"])
    assert run(Pipeline(), Course([])) == twice
    assert run(Pipeline().through(Course), Course([])) == twice
    assert run(Pipeline().through(tasks=list, done=list), {"tasks": [], "done": []}) == twice
    numbers = Pipeline().loop_while(lambda iteration: iteration < 3).stage("s", lambda x: x + 1).end_loop()
    assert numbers.run_local(0) == 3


def test_loops_nest_and_count_for_themselves() -> None:
    seen: list[str] = []

    def inner(x: int, iteration: int) -> int:
        seen.append(f"inner {iteration}")
        return x

    def outer(x: int, iteration: int) -> int:
        seen.append(f"outer {iteration}")
        return x

    pipeline = (
        Pipeline()
        .loop_while(lambda iteration: iteration < 2)
        .loop_while(lambda iteration: iteration < 2)
        .stage("inner", inner)
        .through(x=int)
        .end_loop()
        .stage("outer", outer)
        .through(x=int)
        .end_loop()
    )
    assert pipeline.run_local({"x": 1}) == Record(x=1)
    assert seen == ["inner 0", "inner 1", "outer 0", "inner 0", "inner 1", "outer 1"]


def test_a_loop_without_an_end_fails() -> None:
    pipeline = Pipeline().loop_while(lambda x: True, max_iterations=3).stage("s", lambda x: x).end_loop()
    with pytest.raises(StageFailed, match="@loop failed: its predicate still holds after max_iterations=3"):
        pipeline.run_local(1)


def test_two_branches_that_give_one_field_different_values_fail_at_the_latest_when_they_do() -> None:
    def give(number: int) -> Any:
        return lambda: {"x": number}

    same = Pipeline().parallel([give(1), lambda: {"y": 2}])
    assert same.run_local({"x": 0, "z": 3}) == {"x": 1, "y": 2, "z": 3}
    with pytest.raises(StageFailed, match="branches 1 and 2 gave the field x both"):
        Pipeline().parallel([give(1), give(2)]).run_local({"x": 0})
    with pytest.raises(StageFailed, match="branch 1 gave a value without fields"):
        Pipeline().parallel([lambda: 3]).run_local()


class Fitted:
    """Equal only to itself; it can be pickled, and has no form of its own."""

    def __init__(self, weight: float) -> None:
        self.weight = weight


@pytest.mark.parametrize(
    "value", [np.ones(3), np.full(3, np.nan), np.zeros(0), float("nan"), Fitted(1.0), [Fitted(float("nan"))]]
)
def test_a_branch_that_leaves_a_field_as_it_was_does_not_give_it(value: Any) -> None:
    pipeline = Pipeline().stage("s", lambda: value).through(v=Any).parallel([lambda: {"a": 1}, keep, spoil])
    result = pipeline.run_local()
    assert (result.a, result.v) == (1, "spoilt")


def keep(record: Any) -> Any:
    return record


def spoil(v: Any) -> dict[str, Any]:
    return {"v": "spoilt"}


def test_a_stage_can_be_called_without_a_pipeline(tmp_path: Path) -> None:
    assert Curriculum().choose(SimpleNamespace(tasks=["a"], iteration=0, current_stage=0)) == {
        "current_task": Task("a"),
        "current_stage": 1,
    }
    assert not list(tmp_path.iterdir())


def test_debug_hooks_and_global_ones_see_each_stage() -> None:
    seen: list[Any] = []
    debug_hooks: dict[str, Any] = {"debug": lambda data: seen.append(data)}
    pipeline = (
        Pipeline()
        .stage("one", lambda: 1)
        .through(n=int, **debug_hooks)
        .with_global_hooks(log=lambda stage, data: seen.append(stage))
    )
    pipeline.run_local()
    assert seen == ["one", Record(n=1)]


@pytest.mark.parametrize("given", [{1: "a", (2, 3): "b"}, Counter("aab"), {"iteration": 5}], ids=repr)
def test_a_dict_flows_on_as_it_is(given: dict[Any, Any]) -> None:
    result = Pipeline().stage("give", lambda: given).run_local()
    assert (type(result), result) == (type(given), given)
