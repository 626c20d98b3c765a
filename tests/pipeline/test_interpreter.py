"""The interpreter on a port of plain numbers: where it is stopped, it goes on."""

import asyncio
from collections.abc import Sequence
from itertools import count
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metta.sweep.contracts.errors import StageFailed
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
from metta.sweep.pipeline.interpreter import Interpreter

TURNS = 2


class Stop(Exception):
    """Ends a run at an operation, which is not done."""


class Numbers:
    """Values are numbers that depend on everything that was done to them."""

    def __init__(self, stop_at: int = -1) -> None:
        self.done: list[str] = []
        self._left = stop_at

    def _do(self, what: str, at: At, value: int) -> int:
        if self._left == 0:
            raise Stop
        self._left -= 1
        self.done.append(f"{what} {at}")
        return crc32(f"{what} {at} {value}".encode())

    async def run_stage(self, step: StageStep, at: At, value: int) -> int:
        await asyncio.sleep(0)
        if "bad" in at.path:
            self._do("fail", at, value)
            raise StageFailed(StageFailure(stage=str(at), kind="user", message="bad"))
        return self._do("run", at, value)

    async def recover(self, at: At, value: int, failure: StageFailure) -> int:
        return self._do("recover", at, value)

    async def decide(self, at: At, value: int) -> bool:
        answer = self._do("decide", at, value)
        return at.turns[-1] < TURNS if "loop" in at.path else answer % 2 == 0

    async def merge(self, at: At, value: int, results: Sequence[int]) -> int:
        return self._do("merge", at, value + sum(n * result for n, result in enumerate(results, 1)))


def plans(depth: int) -> st.SearchStrategy[Plan]:
    return st.lists(steps(depth), min_size=0, max_size=3).map(lambda found: Plan(steps=tuple(found)))


def steps(depth: int) -> st.SearchStrategy[Step]:
    stage = st.just(StageStep(path="stage", gives=""))
    bad = st.just(StageStep(path="bad", gives="", recovers=True))
    if depth == 0:
        return stage | bad
    inner = plans(depth - 1)
    several = st.lists(inner, min_size=1, max_size=3).map(tuple)
    return st.one_of(
        stage,
        bad,
        several.map(lambda branches: ParallelStep(path="parallel", branches=branches)),
        st.tuples(inner, inner).map(lambda two: ConditionalStep(path="if", then=two[0], otherwise=two[1])),
        inner.map(lambda body: LoopStep(path="loop", body=body, max_iterations=TURNS)),
        inner.map(lambda body: PipelineStep(path="nested", body=body)),
    )


def named(plan: Plan, numbers: "count[int]") -> Plan:
    """The same plan, each path with a number of its own."""

    def renamed(step: Step) -> Step:
        changes: dict[str, object] = {"path": f"{step.path}-{next(numbers)}"}
        for name in ("body", "then", "otherwise"):
            if hasattr(step, name):
                changes[name] = named(getattr(step, name), numbers)
        if isinstance(step, ParallelStep):
            changes["branches"] = tuple(named(branch, numbers) for branch in step.branches)
        return step.model_copy(update=changes)

    return Plan(steps=tuple(map(renamed, plan.steps)))


random_plans = plans(2).map(lambda plan: named(plan, count()))


def run(plan: Plan, position: Position[int], port: Numbers) -> int:
    return asyncio.run(Interpreter(port).run(plan, position))


@given(random_plans, st.integers(0, 40))
def test_a_run_that_is_stopped_goes_on_from_its_position(plan: Plan, stop_at: int) -> None:
    undisturbed = Numbers()
    result = run(plan, Position(value=1), undisturbed)
    first, second, position = Numbers(stop_at), Numbers(), Position[int](value=1)
    try:
        assert run(plan, position, first) == result
    except Stop:
        position = Position[int].model_validate_json(position.model_dump_json())
        assert run(plan, position, second) == result
    done = first.done + second.done
    # a failure is no outcome: a stage that failed and was not yet recovered runs again
    assert sorted(done) == sorted(undisturbed.done) or len(done) == len(undisturbed.done) + 1
    assert {what for what in done if done.count(what) > 1} <= {what for what in done if what[0] == "f"}


@given(random_plans)
def test_a_plan_survives_the_wire(plan: Plan) -> None:
    again = Plan.model_validate_json(plan.model_dump_json())
    assert (again, again.fingerprint) == (plan, plan.fingerprint)


STAGE, BAD = StageStep(path="stage", gives=""), StageStep(path="bad", gives="")


def test_a_position_does_not_grow_with_the_turns_of_a_loop() -> None:
    class Long(Numbers):
        async def decide(self, at: At, value: int) -> bool:
            sizes.append(len(position.model_dump_json()))
            return at.turns[-1] < 3000

    sizes: list[int] = []
    position = Position[int](value=1)
    run(Plan(steps=(LoopStep(path="loop", body=Plan(steps=(STAGE,))),)), position, Long())
    assert max(sizes) < 200


def test_a_loop_that_does_not_end_fails() -> None:
    loop = LoopStep(path="loop", body=Plan(steps=(STAGE,)), max_iterations=1)
    with pytest.raises(
        StageFailed, match="stage loop failed: its predicate still holds after max_iterations=1"
    ):
        run(Plan(steps=(loop,)), Position(value=1), Numbers())


def test_branches_come_to_their_ends_before_a_failure_is_told() -> None:
    branches = (Plan(steps=(BAD,)), Plan(steps=(STAGE, STAGE)), Plan(steps=(BAD,)))
    port = Numbers()
    with pytest.raises(StageFailed, match="stage bad failed: bad") as failed:
        run(Plan(steps=(ParallelStep(path="parallel", branches=branches),)), Position(value=1), port)
    assert sorted(port.done) == ["fail bad", "fail bad", "run stage", "run stage"]
    assert failed.value.__notes__ == ["and beside it: stage bad failed: bad"]
