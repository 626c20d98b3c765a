import json
import logging
import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from metta.sweep import RetryPolicy
from metta.sweep.contracts.errors import StageFailed
from metta.sweep.contracts.plans import Outcome
from metta.sweep.contracts.shelves import Folder
from metta.sweep.experiments.base import HookSet, Pipeline, Record
from metta.sweep.pipeline.hooks import HOOKS, OBSERVERS
from metta.sweep.pipeline.local import LocalRun, run_local


class Score(NamedTuple):
    value: float
    tries: list[int] = []  # noqa: RUF012 - everybody gets copies


def scored(value: float) -> Score:
    return Score(value)


def raises(*_: Any) -> Any:
    raise ValueError("broken")


class Keys:
    """A function that says where it was called, and what it was given."""

    def __init__(self, answer: object = None) -> None:
        self.seen: list[Any] = []
        self.answer = answer

    def __call__(self, given: Any) -> Any:
        self.seen.append(given)
        return self.answer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "kept"


@pytest.fixture
def run(folder: Path) -> Callable[..., LocalRun]:
    """Runs a stage with hooks at its boundary."""

    def run(
        stage: Callable[..., Any] = scored, value: Any = 1.0, /, contract: Any = Score, **hooks: Any
    ) -> LocalRun:
        pipeline = Pipeline().stage("score", stage).through(contract, **hooks)
        return run_local(pipeline.definition, value, Folder(folder))

    return run


def outcome(run: LocalRun) -> Outcome:
    return run.outcomes["score"]


@pytest.mark.parametrize("name", OBSERVERS)
def test_an_observation_hook_sees_a_copy_of_the_output(name: str, run: Callable[..., LocalRun]) -> None:
    def spoil(score: Score) -> str:
        seen.append(score.value)
        score.tries.append(1)
        return "ignored"

    seen: list[float] = []
    assert run(**{name: spoil}).value == Score(1.0, [])
    assert seen == [1.0]


def test_before_sees_a_copy_of_the_input(run: Callable[..., LocalRun]) -> None:
    def spoil(data: list[int]) -> None:
        data.append(3)
        before(data)

    before = Keys()
    assert run(len, [1, 2], contract=None, before=spoil).value == 2
    assert before.seen == [[1, 2, 3]]


@pytest.mark.parametrize("name", ["before", *OBSERVERS])
def test_an_observation_hook_that_raises_is_counted_and_logged(
    name: str, run: Callable[..., LocalRun], caplog: pytest.LogCaptureFixture
) -> None:
    done = run(**{name: raises})
    assert done.value == Score(1.0)
    assert outcome(done).failed_hooks == {name: 1}
    assert f"score: its {name} hook failed" in caplog.text
    assert "broken" in caplog.text


def test_metrics_without_names_count_as_a_failed_hook(
    run: Callable[..., LocalRun], caplog: pytest.LogCaptureFixture
) -> None:
    assert outcome(run(metrics=lambda score: 3)).failed_hooks == {"metrics": 1}
    assert caplog.messages == ["score: its metrics hook failed: it has to return numbers by name, got 3"]
    assert not outcome(run(metrics=lambda score: None)).failed_hooks


def test_what_log_returns_is_logged_and_what_metrics_returns_is_kept(
    run: Callable[..., LocalRun], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    done = run(log=lambda score: f"scored {score.value}", metrics=lambda score: {"value": score.value})
    assert "score: scored 1.0" in caplog.text
    assert outcome(done).metrics == {"value": 1.0}


@pytest.mark.parametrize("name", ["validate", "assert_fn"])
@pytest.mark.parametrize("refuse", [raises, lambda score: False, lambda score: score.value > 1])
def test_a_validation_hook_fails_the_stage_for_good(
    name: str, refuse: Callable[..., Any], run: Callable[..., LocalRun]
) -> None:
    stage = Keys(Score(1.0))
    with pytest.raises(StageFailed, match=f"stage score failed: {name}: ") as failed:
        run(stage, retry=RetryPolicy(max_attempts=3, initial=0), **{name: refuse})
    assert failed.value.failure.kind == "validation"
    assert stage.seen == [1.0]


@pytest.mark.parametrize("name", ["validate", "assert_fn"])
@pytest.mark.parametrize(
    "accept", [lambda score: True, lambda score: None, lambda score: score.tries.append(1)]
)
def test_a_validation_hook_lets_pass_and_changes_nothing(
    name: str, accept: Callable[..., Any], run: Callable[..., LocalRun]
) -> None:
    assert run(**{name: accept}).value == Score(1.0, [])


@pytest.mark.parametrize(
    ("hooks", "told"),
    [
        ({"validate_type": int}, "validate_type: it does not fit int: got Record(value=1.5)"),
        (
            {"schema": {"value": int}},
            "schema: it does not fit its fields: value: input should be a valid integer",
        ),
        ({"schema": {"other": int}}, "schema: it does not fit the schema: other is missing"),
        ({"schema": Score}, None),
        ({"schema": {"value": float}}, None),
        ({"validate_type": True}, None),
    ],
)
def test_types_of_an_output_are_checked(
    hooks: dict[str, Any], told: str | None, run: Callable[..., LocalRun]
) -> None:
    stage = lambda: Record(value=1.5)  # noqa: E731 - says nothing of what it returns
    if told is None:
        assert run(stage, contract=None, **hooks).value == Record(value=1.5)
        return
    with pytest.raises(StageFailed) as failed:
        run(stage, contract=None, **hooks)
    assert told in str(failed.value)
    assert failed.value.failure.kind == "validation"


@pytest.mark.parametrize(
    ("hooks", "value"),
    [
        ({"filter": lambda s: s._replace(value=2.0)}, Score(2.0)),
        ({"transform": lambda s: s._replace(value=3)}, Score(3.0)),
        ({"enrich": lambda s: {"tries": [1]}}, Score(1.0, [1])),
        ({"enrich": lambda s: s._replace(tries=[2])}, Score(1.0, [2])),
        ({"transform": lambda s: Record(value=4.0, more=1)}, Score(4.0)),
        (
            {
                "enrich": lambda s: {"tries": [*s.tries, 3]},
                "transform": lambda s: s._replace(tries=[*s.tries, 2]),
                "filter": lambda s: s._replace(tries=[1]),
            },
            Score(1.0, [1, 2, 3]),
        ),
    ],
)
def test_transformation_hooks_give_another_output_in_their_order(
    hooks: dict[str, Any], value: Score, run: Callable[..., LocalRun]
) -> None:
    assert run(**hooks).value == value


def test_enrich_adds_fields_to_a_record(run: Callable[..., LocalRun]) -> None:
    pipeline = Pipeline().stage("one", lambda: 1).through(one=int, enrich=lambda record: {"two": 2})
    assert pipeline.run_local() == Record(one=1, two=2)


@pytest.mark.parametrize("contract", [None, dict[str, int]])
def test_enrich_adds_fields_to_a_dict(contract: Any, run: Callable[..., LocalRun]) -> None:
    done = run(lambda: {"one": 1}, contract=contract, enrich=lambda given: {"two": 2})
    assert done.value == {"one": 1, "two": 2}


@pytest.mark.parametrize(
    ("hooks", "told"),
    [
        (
            {"filter": lambda s: s.value > 0},
            "filter: it returned True; it has to return the part of the output",
        ),
        ({"filter": raises}, "filter: ValueError: broken"),
        ({"transform": raises}, "transform: ValueError: broken"),
        ({"enrich": raises}, "enrich: ValueError: broken"),
        ({"enrich": lambda s: {"stranger": 1}}, "enrich: stranger is no field of Score"),
        ({"transform": lambda s: "text"}, "its output: it does not fit Score: got 'text'"),
        ({"skip_if": raises}, "skip_if: ValueError: broken"),
        ({"cache_key": raises}, "cache_key: ValueError: broken"),
        ({"checkpoint_path": raises}, "checkpoint_path: ValueError: broken"),
        ({"archive": raises}, "archive: ValueError: broken"),
        ({"archive": "a", "serialize": raises}, "serialize: ValueError: broken"),
    ],
)
def test_a_hook_that_may_change_something_fails_its_stage(
    hooks: dict[str, Any], told: str, run: Callable[..., LocalRun]
) -> None:
    if "skip_if" in hooks:
        hooks = {**hooks, "contract": None}
    with pytest.raises(StageFailed) as failed:
        run(**hooks)
    assert told in str(failed.value)


class Flaky:
    def __init__(self, failures: int, error: type[BaseException] = ValueError) -> None:
        self.failures, self.error, self.calls = failures, error, 0

    def __call__(self) -> Score:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error(f"attempt {self.calls}")
        return Score(self.calls)


AT_ONCE = RetryPolicy(max_attempts=3, initial=0)


def test_a_stage_that_raised_is_tried_again(run: Callable[..., LocalRun]) -> None:
    assert outcome(run(Flaky(2), retry=AT_ONCE)).attempts == 3


@pytest.mark.parametrize("error", [ValueError, TimeoutError, SystemExit, StopIteration])
def test_the_last_failure_is_told(error: type[BaseException], run: Callable[..., LocalRun]) -> None:
    with pytest.raises(StageFailed, match="stage score failed after 3 attempts") as failed:
        run(Flaky(3, error), retry=AT_ONCE)
    assert failed.value.failure.kind == "user"
    assert failed.value.failure.attempts == 3


def test_a_function_says_how_long_to_wait(run: Callable[..., LocalRun]) -> None:
    asked = Keys(0.01)
    began = time.perf_counter()
    assert run(Flaky(2), retry=RetryPolicy(max_attempts=3, backoff=asked)).value.value == 3
    assert asked.seen == [1, 2]
    assert time.perf_counter() - began >= 0.02


@pytest.mark.parametrize("timeout", [0.05, timedelta(seconds=0.05)])
@pytest.mark.parametrize("is_async", [True, False])
def test_a_stage_that_takes_too_long_is_ended(
    timeout: Any, is_async: bool, run: Callable[..., LocalRun]
) -> None:
    async def sleep() -> None:
        import asyncio

        await asyncio.sleep(5)

    began = time.perf_counter()
    with pytest.raises(StageFailed, match=r"it took longer than 0\.05 s") as failed:
        run(sleep if is_async else lambda: time.sleep(5), contract=None, timeout=timeout)
    assert failed.value.failure.kind == "timeout"
    assert isinstance(failed.value.__cause__, TimeoutError)
    assert time.perf_counter() - began < 4


@pytest.mark.parametrize("handler", [lambda error: Score(-1.0), lambda error, data: Score(-data)])
def test_on_error_gives_an_output_in_place_of_the_failure(
    handler: Callable[..., Any], run: Callable[..., LocalRun]
) -> None:
    done = run(raises, on_error=handler)
    assert done.value == Score(-1.0)
    assert outcome(done).status == "recovered"


def test_on_error_sees_what_was_raised(run: Callable[..., LocalRun]) -> None:
    handler = Keys(Score(0))
    run(raises, on_error=lambda error: handler(error))
    assert isinstance(handler.seen[0], ValueError)


@pytest.mark.parametrize(
    ("handler", "told"),
    [
        (lambda error: (_ for _ in ()).throw(KeyError("worse")), "KeyError: 'worse'"),
        (lambda error: "text", "its output: it does not fit Score: got 'text'"),
    ],
)
def test_on_error_keeps_the_failure_by_raising_or_giving_what_does_not_fit(
    handler: Callable[..., Any], told: str, run: Callable[..., LocalRun]
) -> None:
    with pytest.raises(StageFailed) as failed:
        run(raises, on_error=handler)
    assert told in str(failed.value)


@pytest.mark.parametrize("skipped", [True, False])
def test_skip_if_passes_the_input_on(skipped: bool, run: Callable[..., LocalRun]) -> None:
    done = run(lambda score: Score(2.0), Score(1.0), skip_if=lambda score: skipped)
    assert done.value == Score(1.0 if skipped else 2.0)
    assert outcome(done).status == ("skipped" if skipped else "done")


def test_a_stage_of_fields_that_is_skipped_passes_them_on_as_declared(run: Callable[..., LocalRun]) -> None:
    pipeline = (
        Pipeline().through(x=float).stage("s", lambda x: x + 1).through(x=float, skip_if=lambda r: r.x > 1)
    )
    assert [pipeline.run_local({"x": x}) for x in (1, 2)] == [Record(x=2.0), Record(x=2.0)]


def test_a_cached_output_is_taken_and_fits_the_contract(run: Callable[..., LocalRun]) -> None:
    def stage(value: float) -> Any:
        return Score(7, [int(value)])

    first, second, other = run(stage, cache=True), run(stage, cache=True), run(stage, 2.0, cache=True)
    assert first.value == second.value == Score(7.0, [1])
    assert other.value == Score(7.0, [2])
    assert [outcome(done).status for done in (first, second, other)] == ["done", "cached", "done"]


def test_a_cache_goes_by_the_contract_and_the_code(run: Callable[..., LocalRun]) -> None:
    class Longer(NamedTuple):
        value: float
        tries: list[int]
        more: int = 0

    assert outcome(run(scored, cache=True)).status == "done"
    assert outcome(run(lambda value: Longer(value, []), contract=Longer, cache=True)).status == "done"
    assert outcome(run(lambda value: Score(value), cache=True)).status == "done"
    assert outcome(run(scored, cache=True)).status == "cached"


def test_a_cache_keeps_the_turns_of_a_loop_apart(folder: Path) -> None:
    def stage(x: int, iteration: int) -> int:
        return x * 10 + iteration

    pipeline = Pipeline().through(x=int).loop_while(lambda iteration: iteration < 3)
    looped = pipeline.stage("s", stage).through(y=int, cache=True).end_loop().stage("y", lambda y: y)
    assert [looped.run_local({"x": 1}, folder=folder) for _ in range(2)] == [12, 12]
    same = (
        pipeline.stage("s", lambda iteration: iteration).through(x=int, cache_key=lambda record: 1).end_loop()
    )
    assert same.run_local({"x": 1}, folder=folder) == Record(x=0)


def test_cache_key_says_what_is_the_same(run: Callable[..., LocalRun]) -> None:
    stage = Keys(Score(7))
    for value in (1.0, 1.4, 2.0):
        run(stage, value, cache_key=lambda value: int(value))
    assert stage.seen == [1.0, 2.0]


def test_a_damaged_cache_is_no_obstacle(run: Callable[..., LocalRun], folder: Path) -> None:
    run(cache=True)
    for path in folder.rglob("cache/score/*"):
        path.write_bytes(b'{"value": ')
    assert outcome(run(cache=True)).status == "done"


def test_an_input_that_cannot_be_told_apart_is_not_cached(run: Callable[..., LocalRun]) -> None:
    with pytest.raises(StageFailed, match="give cache_key"):
        run(lambda thing: Score(1.0), Keys(), cache=True)


@pytest.mark.parametrize(
    ("hooks", "key"),
    [
        ({"checkpoint": True}, "checkpoints/score.json"),
        ({"checkpoint_path": "here/it.json"}, "here/it.json"),
        ({"checkpoint_path": lambda score: f"by/{score.value}"}, "by/1.0"),
        ({"archive": lambda score: Path("archive") / "score"}, "archive/score"),
        ({"archive": "archive/score"}, "archive/score"),
    ],
)
def test_an_output_is_stored(
    hooks: dict[str, Any], key: str, run: Callable[..., LocalRun], folder: Path
) -> None:
    done = run(**hooks)
    assert outcome(done).written == (key,)
    stored = {"$named": ["tests.pipeline.test_hooks:Score", {"value": 1.0, "tries": []}]}
    assert json.loads((folder / key).read_text("utf-8")) == stored
    assert [path for path in folder.rglob("*") if path.is_file()] == [folder / key]


@pytest.mark.parametrize(
    ("form", "stored"), [(b"\x00\xff", b"\x00\xff"), ("text", b"text"), ({"a": 1}, b'{"a": 1}')]
)
def test_serialize_gives_what_is_stored(
    form: Any, stored: bytes, run: Callable[..., LocalRun], folder: Path
) -> None:
    run(serialize=lambda score: form, archive="it")
    assert (folder / "it").read_bytes() == stored


def test_an_output_that_cannot_be_stored_says_what_to_do(run: Callable[..., LocalRun]) -> None:
    with pytest.raises(StageFailed, match=r"its output: .* cannot be sent or stored: .*; give serialize="):
        run(lambda: Keys(), contract=None, checkpoint=True)


@pytest.mark.parametrize("path", ["../it", "/it", "."])
def test_nothing_is_stored_outside_of_the_store(path: str, run: Callable[..., LocalRun]) -> None:
    with pytest.raises(StageFailed, match="leads out of the store"):
        run(archive=path)


@pytest.mark.parametrize("path", ["taken/it", "a" * 300])
def test_a_path_that_cannot_be_written_to_fails_its_stage(
    path: str, run: Callable[..., LocalRun], folder: Path
) -> None:
    folder.mkdir()
    (folder / "taken").write_text("")
    with pytest.raises(StageFailed, match=f"{path[:200]} cannot be written: .*Error") as caught:
        run(checkpoint_path=path)
    assert caught.value.failure.kind == "hook"


def test_a_profile_tells_time_and_memory(run: Callable[..., LocalRun]) -> None:
    def busy() -> Score:
        block = bytearray(3_000_000)
        time.sleep(0.01)
        return Score(len(block))

    profile = outcome(run(busy, profile=True)).profile
    assert profile
    assert profile.wall_s >= 0.01
    assert profile.peak_bytes >= 3_000_000
    assert profile.report == ""


@pytest.mark.parametrize("is_async", [True, False])
def test_a_full_profile_names_functions(is_async: bool, run: Callable[..., LocalRun]) -> None:
    async def later() -> Score:
        return scored(os.cpu_count() or 1)

    profile = outcome(run(later if is_async else scored, profile="full")).profile
    assert profile
    assert "scored" in profile.report


def test_hooks_take_part_in_the_order_of_the_table(run: Callable[..., LocalRun]) -> None:
    order: list[str] = []

    def noted(name: str, answer: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def hook(data: Any) -> Any:
            order.append(name)
            return answer(data)

        return hook

    def stage(score: Score) -> Score:
        order.append("stage")
        return score

    answers: dict[str, Callable[[Any], Any]] = {
        **dict.fromkeys(("filter", "transform", "enrich", "serialize"), lambda data: data),
        **dict.fromkeys(("cache_key", "checkpoint_path", "archive"), lambda data: "key"),
    }
    functions = {name: hook for name, hook in HOOKS.items() if hook.arity == (1,)}
    hooks = {name: noted(name, answers.get(name, lambda data: None)) for name in functions}
    run(stage, Score(1.0), **hooks)
    told = [name for name in order if name not in ("stage", "serialize", "checkpoint_path", "archive")]
    assert told == [name for name in functions if name in told]
    assert order[order.index("stage") - 1] == "cache_key"
    assert order[order.index("stage") + 1] == "validate"
    assert set(order) == {"stage", *functions}


def test_hook_sets_compose_and_the_right_one_wins() -> None:
    hooks = HookSet(retry=3, cache=True) | {"retry": 4} | HookSet(timeout=5)
    assert dict(hooks) == {"retry": 4, "cache": True, "timeout": 5}
    assert dict({"retry": 1, "log": 2} | hooks) == {"retry": 4, "log": 2, "cache": True, "timeout": 5}
    assert repr(HookSet(retry=3)) == "HookSet(retry=3)"


def test_global_hooks_run_outside_the_local_ones() -> None:
    order: list[Any] = []
    pipeline = (
        Pipeline()
        .with_global_hooks(
            before=lambda stage, data: order.append(("before", stage, data)),
            after=lambda stage, data: order.append(("after", stage, data)),
            transform=lambda stage, data: data * 10,
        )
        .stage("one", lambda: 1)
        .through(before=lambda data: order.append("before"), after=lambda data: order.append("after"))
        .stage("nested", Pipeline().stage("two", lambda one: one + 1))
    )
    assert pipeline.run_local() == 110
    assert order == [
        ("before", "one", None),
        "before",
        "after",
        ("after", "one", 10),
        ("before", "nested/two", 10),
        ("after", "nested/two", 110),
    ]


def test_global_values_hold_where_a_boundary_says_nothing() -> None:
    flaky, own = Flaky(1), Flaky(1)
    pipeline = Pipeline().stage("flaky", flaky).with_global_hooks(retry=AT_ONCE)
    pipeline.run_local()
    assert flaky.calls == 2
    with pytest.raises(StageFailed):
        pipeline.stage("own", own).through(retry=1).run_local()
    assert own.calls == 1


def test_a_global_on_error_is_asked_after_the_own_one() -> None:
    asked: list[Any] = []

    def own(error: Exception) -> None:
        asked.append(str(error))
        raise KeyError("own")

    def last(stage: str, error: Exception) -> int:
        asked.append((stage, type(error)))
        return 5

    pipeline = Pipeline().stage("bad", raises).through(on_error=own).with_global_hooks(on_error=last)
    assert pipeline.run_local() == 5
    assert asked == ["broken", ("bad", KeyError)]
