"""What is wrong with a pipeline is told at once, with the line of the call that made it."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, NamedTuple

import pytest

from metta.sweep.contracts.errors import PipelineDefinitionError
from metta.sweep.experiments.base import Merge, Pipeline


class Raw(NamedTuple):
    rows: int


class Score(NamedTuple):
    value: float
    rows: int


class Named(NamedTuple):
    value: str


def whole(value: Named) -> str:
    return f"{value.value} of {type(value).__name__}"


@dataclass
class Best:
    value: float


def load(path: str) -> Raw:
    return Raw(len(path))


def size(text: str) -> int:
    return len(text)


def shifted(rows: int, by: int) -> int:
    return rows + by


def score(raw: Raw) -> Score:
    return Score(raw.rows / 2, raw.rows)


def show(best: Best) -> None:
    print(best)


def rated(rate: float = 1.0) -> float:
    return rate


def best_of(best: Best = Best(0.0)) -> Best:  # noqa: B008 - it is not changed
    return best


def is_good(data: Any) -> bool:
    return bool(data)


# Any, for much of what follows is refused by type checkers as well
ANY: Any = Pipeline
LOADED: Any = ANY().stage("load", load).through(Raw)

# each call is made on its own line, so that the line in the message can be told
WRONG: list[tuple[Callable[[], Pipeline[Any]], str]] = [
    (lambda: LOADED.stage("load", score), "there is a stage 'load' already, at "),
    (lambda: LOADED.stage("b", load), "stage b: it takes path: str, but Raw flows: str is expected"),
    (lambda: LOADED.stage("b", show), "stage b: it takes best: Best, but Raw flows: value is missing"),
    (
        lambda: LOADED.stage("b", lambda row, rows: 0),
        "stage b: it takes row, but Raw flows, which has no such field; did you mean rows?",
    ),
    (
        lambda: ANY().stage("n", size).stage("b", lambda x, y: 0),
        "stage b: it takes x, y, but int flows, without fields",
    ),
    (
        lambda: LOADED.stage("s", ANY().stage("s", score)).through(rows=str),
        "stage @through: it returns Score: rows has to be str, got int",
    ),
    (
        lambda: LOADED.stage("s", score).through(Score, skip_if=is_good),
        "stage s: skip_if passes Raw on, which has no value",
    ),
    (
        lambda: ANY().stage("load", load).through(Score),
        "stage load: it returns Raw, but Score is declared: value is missing",
    ),
    (
        lambda: ANY().stage("load", load).through(rows=str),
        "stage load: it returns Raw: rows has to be str, got int",
    ),
    (
        lambda: ANY().stage("load", load).through(value=int, rows=int),
        "stage load: it returns Raw: value is missing",
    ),
    (lambda: ANY().stage("n", size).through(n=str), "stage n: it returns int: n has to be str, got int"),
    (
        lambda: ANY().stage("n", size).through(a=int, b=int),
        "stage n: it returns int: a, b are declared, so it has to return these fields",
    ),
    (lambda: LOADED.stage("s", show).through(n=int), "stage s: it returns nothing, but n is declared"),
    (lambda: ANY().end_loop(), "end_loop() without loop_while()"),
    (lambda: LOADED.loop_while(is_good).stage("s", score), "loop_while() without end_loop()"),
    (lambda: LOADED.loop_while(is_good).end_loop(), "the loop is empty"),
    (
        lambda: LOADED.loop_while(is_good, max_iterations=0).stage("s", load).end_loop(),
        "max_iterations has to be a whole number of at least 1, got 0",
    ),
    (lambda: ANY().loop_while(3).stage("n", size).end_loop(), "a predicate has to be a function, got 3"),
    (lambda: ANY().conditional(3, len), "a predicate has to be a function, got 3"),
    (
        lambda: LOADED.conditional(lambda row, rows: True, score),
        "the predicate: it takes row, but Raw flows, which has no such field; did you mean rows?",
    ),
    (
        lambda: (
            LOADED.loop_while(is_good)
            .stage("s", score)
            .through(value=float)
            .stage("l", lambda value: Best(value))
            .through(Best)
            .end_loop()
        ),
        "stage s: it takes raw: Raw, but Best flows: rows is missing (in the second turn of the loop at ",
    ),
    (lambda: LOADED.through(Raw, retyr=3), "retyr is no hook; did you mean retry?"),
    (lambda: LOADED.through(retyr=3), "retyr is no hook; did you mean retry?"),
    (
        lambda: ANY().stage("n", size).through(x=[int]),
        "x is neither a hook nor a field, for [<class 'int'>] is no type",
    ),
    (
        lambda: ANY().stage("n", size).through(x="int"),
        "x is neither a hook nor a field, for 'int' is no type",
    ),
    (lambda: ANY().stage("n" * 101, size), "'nnnnnnnnnnnnnnnnnnnn"),
    (lambda: LOADED.through(Raw, rows=int), "rows cannot be a field beside the contract Raw, and is no hook"),
    (
        lambda: ANY().through(Raw).end_loop().through(note=str),
        "stage @through-2: it returns Raw: note is missing",
    ),
    (
        lambda: ANY().through(metrics=dict),
        "metrics is a hook, so it cannot be a field; name the field otherwise",
    ),
    (lambda: LOADED.through(3), "a contract has to be a class, got 3"),
    (lambda: ANY().through(), "through() has to be given a contract, fields or hooks"),
    (lambda: ANY().through(retry=3), "retry belongs behind a function, and there is none"),
    (lambda: LOADED.through(Raw), "there is a through() right before this one; give both together"),
    (lambda: LOADED.through(Raw, log=lambda: 0), "log has to be a function of (data), got <lambda>()"),
    (lambda: LOADED.through(Raw, validate=3), "validate has to be a function of (data), got 3"),
    (
        lambda: LOADED.through(on_error=lambda a, b, c: 0),
        "on_error has to be a function of (error) or (error, data), got <lambda>(a, b, c)",
    ),
    (
        lambda: ANY().stage("n", size).with_global_hooks(log=lambda data: 0),
        "log has to be a function of (stage, data), got <lambda>(data)",
    ),
    (
        lambda: LOADED.through(filter=is_good),
        "filter returns a bool; it has to return the part of the output",
    ),
    (
        lambda: ANY().stage("n", size).through(retry=0),
        "retry has to be a number of attempts or a RetryPolicy, got 0",
    ),
    (
        lambda: ANY().stage("n", size).through(timeout=-1),
        "timeout has to be seconds or a timedelta, got -1",
    ),
    (
        lambda: ANY().stage("n", size).through(profile="half"),
        "profile has to be True or \"full\", got 'half'",
    ),
    (lambda: ANY().stage("n", size).through(cache=3), "cache has to be True, got 3"),
    (
        lambda: ANY().stage("n", size).through(checkpoint_path=3),
        "checkpoint_path has to be a function of (data) or a path, got 3",
    ),
    (lambda: ANY().stage("n", 3), "stage 'n' has to be a function, a pipeline or an experiment, got 3"),
    (lambda: ANY().stage("a/b", len), "'a/b' cannot be the name of a stage; use letters, digits"),
    (lambda: ANY().stage(3, len), "3 cannot be the name of a stage"),
    (lambda: ANY().parallel([]), "parallel() has to be given a list or dict of branches, got []"),
    (lambda: ANY().parallel([3]), "a branch has to be a function, a pipeline or an experiment, got 3"),
    (lambda: ANY().parallel({"a b": len}), "'a b' cannot be a field; name branches like variables"),
    (
        lambda: LOADED.parallel([score, lambda rows: Best(rows), ANY().stage("best", Best)]),
        "parallel(): branches score and 3 give the field value both; say how it merges with Annotated",
    ),
    (
        lambda: ANY().parallel([size, load]),
        "parallel(): branch size gives int, which has no fields to merge; name branches in a dict",
    ),
    (
        lambda: LOADED.stage("sub", ANY().stage("b", load)),
        "stage sub/b: it takes path: str, but Raw flows",
    ),
]


@pytest.mark.parametrize(("wrong", "told"), WRONG, ids=[told[:40] for _, told in WRONG])
def test_a_mistake_is_told_with_its_line(wrong: Callable[[], Pipeline[Any]], told: str) -> None:
    with pytest.raises(PipelineDefinitionError) as error:
        wrong().plan()
    problems = [problem for problem in error.value.problems if told in problem]
    assert len(problems) == 1, error.value
    file, line, text = problems[0].split(":", 2)
    assert text.startswith(f" {told}")
    assert file == __file__
    first = wrong.__code__.co_firstlineno
    assert first <= int(line) <= first + 2 or "LOADED.through(Raw" in told


def test_all_mistakes_are_told_at_once_before_anything_runs() -> None:
    ran: list[int] = []
    line = sys._getframe().f_lineno
    pipeline = (
        ANY()
        .stage("first", ran.append)
        .through(Raw, retyr=3, log=lambda: 0)
        .stage("first", score)
        .through(
            Best,
        )
        .end_loop()
    )
    with pytest.raises(PipelineDefinitionError) as error:
        pipeline.run_local(1)
    assert str(error.value) == "\n- ".join(
        [
            "4 mistakes in the pipeline:",
            f"{__file__}:{line + 4}: retyr is no hook; did you mean retry?",
            f"{__file__}:{line + 4}: log has to be a function of (data), got <lambda>()",
            f"{__file__}:{line + 5}: there is a stage 'first' already, at {__file__}:{line + 3}",
            f"{__file__}:{line + 9}: end_loop() without loop_while()",
        ]
    )
    assert ran == []


class Context(NamedTuple):
    trials: Annotated[list[int], Merge(lambda before, values: before + [v[-1] for v in values])]
    best: Annotated[float, Merge(lambda before, values: max(values))]
    note: Annotated[str, Merge(lambda before, values: before)] = ""


def explore(context: Context) -> Context:
    return Context([*context.trials, 1], 1.0)


def exploit(trials: list[int]) -> dict[str, Any]:
    return {"best": 2.0}


RIGHT: list[tuple[Callable[[], Pipeline[Any]], Any, Any]] = [
    (lambda: LOADED.stage("s", score), "abcd", Score(2.0, 4)),
    (lambda: LOADED.stage("s", score).stage("best", Best), "abcd", Best(2.0)),
    (lambda: ANY().stage("n", len).through(n=int).stage("m", lambda n: n + 1), "abcd", 5),
    (lambda: ANY().through(Named).stage("n", lambda value: value), Named("a"), "a"),
    (lambda: ANY().through(Named).stage("n", whole), Named("a"), "a of Named"),
    (lambda: LOADED.stage("p", partial(shifted, by=2)), "abcd", 6),
    (lambda: ANY().stage("s", score), {"rows": 4}, Score(2.0, 4)),
    (lambda: ANY().stage("k", lambda **fields: sorted(fields)), {"b": 1, "a": 2}, ["a", "b"]),
    (lambda: ANY().stage("k", lambda a, /, *, b=5, c=6: (a, b, c)), {"b": 1, "a": 2}, (2, 1, 6)),
    (lambda: ANY().stage("k", lambda: 3), "anything", 3),
    (lambda: ANY().stage("k", lambda a, b=5, c=6, /: (a, b, c)), "a", ("a", 5, 6)),
    (lambda: ANY().stage("k", lambda a, b=5, c=6, /: (a, b, c)), {"c": 1, "a": 2}, (2, 5, 1)),
    (lambda: ANY().stage("k", lambda a, b, c=6, /: (a, b, c)), {"b": 1, "a": 2}, (2, 1, 6)),
    (lambda: ANY().stage("k", rated), 2.0, 2.0),
    (lambda: ANY().stage("k", rated), None, 1.0),
    (lambda: ANY().stage("k", rated), "text", 1.0),
    (lambda: ANY().stage("k", rated), {"rate": 3.0}, 3.0),
    (lambda: ANY().stage("k", rated), {"other": 3.0}, 1.0),
    (lambda: ANY().stage("k", lambda x=1, /: x), 2, 2),
    (lambda: ANY().stage("k", lambda *, x=1: x), 2, 2),
    (lambda: ANY().stage("k", lambda x=1: x), {"other": 3.0}, 1),
    (lambda: ANY().stage("k", best_of), {"value": 2.0}, Best(2.0)),
    (
        lambda: ANY().loop_while(lambda n: n < 1).stage("k", lambda iteration=5: iteration + 1).end_loop(),
        0,
        1,
    ),
]


@pytest.mark.parametrize(("right", "value", "result"), RIGHT)
def test_what_flows_reaches_parameters_by_name_or_whole(
    right: Callable[[], Pipeline[Any]], value: Any, result: Any
) -> None:
    assert right().run_local(value) == result


def test_a_pipeline_does_not_change() -> None:
    LOADED.stage("other", score).loop_while(is_good)
    assert LOADED.describe() == "load -> Raw"


def test_contracts_say_how_parallel_branches_merge() -> None:
    pipeline = ANY().through(Context).parallel([explore, ANY().stage("again", explore)])
    assert pipeline.run_local(Context([0], 0.0, "kept")) == Context([0, 1, 1], 1.0, "kept")


def test_a_plan_is_plain_data_that_a_fix_does_not_change() -> None:
    plan = LOADED.stage("s", score).plan()
    assert type(plan).model_validate_json(plan.model_dump_json()) == plan
    fixed = LOADED.stage("s", lambda raw: score(raw))
    assert (
        fixed.through(Score).plan().fingerprint == LOADED.stage("s", score).through(Score).plan().fingerprint
    )
    others = [LOADED.stage("t", score), LOADED.stage("s", score).through(retry=2), LOADED.stage("s", Best)]
    assert plan.fingerprint not in {other.plan().fingerprint for other in others[:2]}
