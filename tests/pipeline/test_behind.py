"""What comes after a run of a stage is what depends on what that gave, in any pipeline."""

import asyncio
from collections.abc import Sequence
from itertools import count
from typing import NamedTuple
from zlib import crc32

from hypothesis import given
from hypothesis import strategies as st

from metta.sweep.contracts.plans import (
    At,
    ConditionalStep,
    LoopStep,
    ParallelStep,
    PipelineStep,
    Plan,
    Position,
    StageFailure,
    StageStep,
    Step,
)
from metta.sweep.pipeline.behind import behind, loops_around, stages_in
from metta.sweep.pipeline.interpreter import Interpreter

TURNS = 2


class Done(NamedTuple):
    """Something that was done, and to what."""

    what: str
    at: At
    value: int


class Numbers:
    """Values are numbers that depend on everything that was done to them; one stage may give another one."""

    def __init__(self, other: At | None = None) -> None:
        self.done: list[Done] = []
        self._other = other

    def _do(self, what: str, at: At, value: int) -> int:
        self.done.append(Done(what, at, value))
        return crc32(f"{what} {at} {value} {at == self._other}".encode())

    async def run_stage(self, step: StageStep, at: At, value: int) -> int:
        return self._do("run", at, value)

    async def recover(self, at: At, value: int, failure: StageFailure) -> int:
        raise AssertionError

    async def decide(self, at: At, value: int) -> bool:
        answer = self._do("decide", at, value)
        return at.turns[-1] < TURNS if "loop" in at.path else answer % 2 == 0

    async def merge(self, at: At, value: int, results: Sequence[int]) -> int:
        return self._do("merge", at, crc32(f"{value} {results}".encode()))


def plans(depth: int) -> st.SearchStrategy[Plan]:
    return st.lists(steps(depth), min_size=0, max_size=3).map(lambda found: Plan(steps=tuple(found)))


def steps(depth: int) -> st.SearchStrategy[Step]:
    stage = st.just(StageStep(path="stage", gives=""))
    if depth == 0:
        return stage
    inner = plans(depth - 1)
    several = st.lists(inner, min_size=1, max_size=3).map(tuple)
    return st.one_of(
        stage,
        several.map(lambda branches: ParallelStep(path="parallel", branches=branches)),
        st.tuples(inner, inner).map(lambda two: ConditionalStep(path="if", then=two[0], otherwise=two[1])),
        inner.map(lambda body: LoopStep(path="loop", body=body)),
        inner.map(lambda body: PipelineStep(path="pipeline", body=body)),
    )


def numbered(plan: Plan, numbers: "count[int]") -> Plan:
    """The same with a path of its own for each step."""

    def step(given: Step) -> Step:
        path = {"path": f"{given.path}{next(numbers)}"}
        match given:
            case StageStep():
                return given.model_copy(update=path)
            case ParallelStep():
                branches = tuple(numbered(branch, numbers) for branch in given.branches)
                return given.model_copy(update={**path, "branches": branches})
            case ConditionalStep():
                two = {"then": numbered(given.then, numbers), "otherwise": numbered(given.otherwise, numbers)}
                return given.model_copy(update={**path, **two})
            case LoopStep() | PipelineStep():
                return given.model_copy(update={**path, "body": numbered(given.body, numbers)})

    return Plan(steps=tuple(map(step, plan.steps)))


def walked(plan: Plan, other: At | None = None) -> list[Done]:
    port = Numbers(other)
    asyncio.run(Interpreter(port).run(plan, Position[int](value=1)))
    return port.done


@given(plans(3).map(lambda plan: numbered(plan, count())), st.data())
def test_what_comes_after_a_run_of_a_stage_is_what_depends_on_it(plan: Plan, data: st.DataObject) -> None:
    done = walked(plan)
    runs = [one.at for one in done if one.what == "run"]
    if not runs:
        return
    at = data.draw(st.sampled_from(runs))
    assert loops_around(plan, at.path) == len(at.turns)
    first = behind(plan, at)
    kept = {one for one in done if one.at.path not in first or one.at.turns < first[one.at.path]}
    unaffected = set(walked(plan, at)) - {one for one in done if one.at == at}
    assert kept == unaffected & set(done)


def stage(path: str) -> StageStep:
    return StageStep(path=path, gives="")


NESTED = Plan(
    steps=(
        stage("load"),
        LoopStep(
            path="@while",
            body=Plan(
                steps=(
                    stage("before"),
                    LoopStep(path="@while2", body=Plan(steps=(stage("train"), stage("test")))),
                    stage("after"),
                )
            ),
        ),
        PipelineStep(path="tell", body=Plan(steps=(stage("tell/@through"), stage("tell/one")))),
    )
)


def test_later_turns_of_outer_loops_come_after_and_the_decision_for_this_turn_does_not() -> None:
    assert behind(NESTED, At("test", (1, 2))) == {
        "train": (1, 3),
        "test": (1, 2),
        "@while2": (1, 3),
        "before": (2,),
        "after": (1,),
        "@while": (2,),
        "tell": (),
        "tell/@through": (),
        "tell/one": (),
    }


def test_a_pipeline_that_is_a_stage_counts_as_one() -> None:
    assert behind(NESTED, At("tell")) == {"tell": (), "tell/@through": (), "tell/one": ()}
    assert list(stages_in(NESTED)) == ["load", "before", "train", "test", "after", "tell", "tell/one"]
    assert loops_around(NESTED, "nothing") is None
