"""Optimizers and helpers in fields, and their methods as stages, in local runs."""

from pathlib import Path
from typing import Any

import pytest

from metta.sweep import Choice, DefinitionError, Integer, PipelineDefinitionError, StageFailed, Trial, Uniform
from metta.sweep.contracts.spaces import SearchSpace
from metta.sweep.experiments import Experiment
from metta.sweep.experiments.base import Pipeline
from metta.sweep.optimizers import Optimizer, OptunaOptimizer, RandomOptimizer
from tests.experiments.asking import (
    SPACE,
    ByHand,
    Climbing,
    Contracted,
    Dependent,
    Ending,
    Helped,
    Joined,
    Labelled,
    Mishap,
    Paired,
    Replaced,
    Stubborn,
    Suggested,
    Torn,
    Tuning,
    tuned,
)

OPTIMIZERS: dict[str, Optimizer] = {
    "random": RandomOptimizer(SPACE, seed=5),
    "tpe": OptunaOptimizer(SPACE, seed=5, n_startup_trials=3),
    "own": Climbing(),
}

RESULTS: list[tuple[Experiment, Any, Any]] = [
    (Contracted(), None, ["x", True]),
    (Dependent(), None, True),
    (Paired(), None, True),
    (Labelled(), None, True),
    (Joined(), None, [1, True, [True, True]]),
    (Mishap(how="nan"), None, ["score is nan"]),
    (
        Helped(),
        None,
        [24025, 24025, [3, 6, 9, 12, 15, 18, 21], [str(3 * n) for n in range(1, 8)], 24, 24],
    ),
    (Replaced(), {"n": 3}, 52),
    (Torn(same=False), {"n": 3}, 6),
    (Stubborn(), {"n": 3}, 100),
]
"""What each one gives, and what it is given."""


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("experiment", "given", "expected"), RESULTS)
def test_methods_act_on_what_fields_hold_at_the_moment(
    experiment: Experiment, given: Any, expected: object
) -> None:
    before = experiment.fields
    assert experiment.run_local(given) == expected
    assert experiment.fields == before


def again(experiment: Tuning) -> Tuning:
    """The same one, from JSON."""
    fields: Any = experiment.fields
    return Tuning(**fields)


def by_hand(optimizer: Optimizer, turns: int) -> list[tuple[float, int]]:
    """What the loop of ``Tuning`` does, without any pipeline."""
    tried = []
    for number in range(turns):
        params = optimizer.suggest(1)[0].params
        tried.append((params["lr"], params["depth"]))
        score = tuned(**params)
        own = isinstance(optimizer, Climbing)
        optimizer.observe(Trial(params, number), score if own else {"score": score})
    return tried


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_loop_of_suggest_and_observe_is_what_one_does_by_hand(name: str) -> None:
    experiment = Tuning(optimizer=OPTIMIZERS[name])
    told = experiment.run_local()
    assert told["tried"] == by_hand(again(experiment).optimizer, 8)
    assert [number for number, _ in told["told"]] == list(range(8))
    assert told["fields"] == ["base", "depth", "lr", "score"]


def test_optimizers_used_and_assigned_in_methods_go_on() -> None:
    tried = ByHand().run_local()
    assert len(set(tried)) == 16
    assert ByHand().run_local() == tried


def test_each_experiment_has_its_own() -> None:
    one, other, given = Tuning(), Tuning(), RandomOptimizer(SPACE)
    assert one.optimizer is not other.optimizer
    one.optimizer.suggest(3)
    assert other.optimizer.next_number == Tuning().optimizer.next_number == 0
    assert one.fields != other.fields
    made = Tuning(optimizer=given)
    given.suggest(1)
    assert made == Tuning() == other


def test_without_a_seed_the_name_of_the_field_gives_one() -> None:
    seeds = {name: value["seed"] for name, value in Paired().fields.items()}  # type: ignore[index, call-overload]
    assert seeds["one"] != seeds["two"]
    assert {name: value["seed"] for name, value in Paired().fields.items()} == seeds  # type: ignore[index, call-overload]
    assert "seed" not in Tuning(optimizer=RandomOptimizer(SPACE, seed=5)).fields["optimizer"]  # type: ignore[operator]


def test_what_it_learnt_before_is_part_of_the_field() -> None:
    begun, undisturbed = (OptunaOptimizer(SPACE, seed=5, n_startup_trials=3) for _ in "ab")
    before = by_hand(begun, 4)
    told = Tuning(optimizer=begun, turns=3).run_local()
    assert [number for number, _ in told["told"]] == list(range(7))
    assert before + told["tried"] == by_hand(undisturbed, 7)


def test_json_makes_it_too() -> None:
    form = {"type": "random", "options": {"search_space": {"lr": {"type": "uniform", "low": 0, "high": 1}}}}
    assert Tuning(optimizer=form).optimizer.space == SearchSpace({"lr": Uniform(0, 1)})  # type: ignore[arg-type]
    with pytest.raises(DefinitionError) as caught:
        Tuning(optimizer="randm", turns="many")  # type: ignore[arg-type]
    assert [problem.partition(",")[0] for problem in caught.value.problems] == [
        "optimizer: unknown optimizer 'randm'; did you mean random?",
        "turns: input should be a valid integer",
    ]


def test_one_that_no_other_process_could_make_is_refused() -> None:
    class Inner(Climbing):
        """Defined in a function."""

    with pytest.raises(DefinitionError, match=r"Inner is defined inside a function or notebook; define it"):
        Tuning(optimizer=Inner())
    with pytest.raises(DefinitionError, match="optimizer: step has to be plain JSON"):
        Tuning(optimizer=Climbing(step=object()))  # type: ignore[arg-type]
    used = RandomOptimizer()
    used.setup(Tuning().optimizer.space, (), seed=1)
    with pytest.raises(DefinitionError, match=r"optimizer: setup\(\) was called"):
        Tuning(optimizer=used)


def test_one_that_cannot_be_kept_any_more_fails_the_stage() -> None:
    class Spoilt(Tuning):
        def pipeline(self) -> Pipeline[Any]:
            return Pipeline().stage("spoil", self.spoil)

        def spoil(self) -> None:
            self.optimizer.observe(Trial({"lr": object()}), 0.5)  # type: ignore[dict-item]

    with pytest.raises(StageFailed, match="its fields: optimizer: its call 0, of observe, is no plain JSON"):
        Spoilt().run_local()


def test_when_nothing_is_left_to_suggest_the_stage_fails() -> None:
    with pytest.raises(StageFailed, match="Climbing has nothing left to suggest; end the pipeline before"):
        Ending().run_local()


def test_without_a_trial_there_is_nothing_to_tell_of() -> None:
    with pytest.raises(StageFailed, match="RandomOptimizer has suggested no trial yet, of which score could"):
        Mishap(how="skipped").run_local()


def test_two_branches_cannot_change_the_same_helper() -> None:
    with pytest.raises(StageFailed, match="the branches a and b have both changed the field tally"):
        Torn().run_local({"n": 3})


def problems_of(pipeline: Any) -> list[str]:
    """What is wrong with the pipeline of an experiment that has two optimizers."""

    class Wrong(Experiment):
        optimizer: Optimizer = RandomOptimizer(SPACE)
        other: Optimizer = RandomOptimizer(
            {"kind": Choice(["a", "b"]), "size": Integer(1, 3, when={"kind": "b"})}
        )

        def pipeline(self) -> Pipeline[Any]:
            made: Pipeline[Any] = pipeline(self)
            return made

    with pytest.raises(PipelineDefinitionError) as caught:
        Wrong().run_local()
    return [problem.partition("stage ")[2] for problem in caught.value.problems]


WRONG: dict[str, tuple[Any, list[str]]] = {
    "observe alone": (
        lambda self: Pipeline().through(score=float).stage("observe", self.optimizer.observe),
        ["observe: no stage before it is self.optimizer.suggest, of whose trial it could tell"],
    ),
    "observe of another one": (
        lambda self: (
            Pipeline()
            .stage("suggest", self.other.suggest)
            .stage("train", tuned)
            .through(score=float)
            .stage("observe", self.optimizer.observe)
        ),
        [
            "train: it takes lr, but (kind: str) flows",
            "train: it takes depth, but (kind: str) flows",
            "observe: no stage before it is self.optimizer.suggest, of whose trial it could tell. Known:",
        ],
    ),
    "nothing declared": (
        lambda self: (
            Pipeline()
            .through(score=float)
            .stage("suggest", self.optimizer.suggest)
            .stage("train", lambda lr: lr)
            .through(name=str)
            .stage("observe", self.optimizer.observe)
        ),
        ["observe: no number is declared between suggest and it, and (score: float, lr: float, depth: int"],
    ),
    "a bare number": (
        lambda self: (
            Pipeline()
            .stage("suggest", self.optimizer.suggest)
            .stage("train", tuned)
            .stage("observe", self.optimizer.observe)
        ),
        ["observe: the number that flows has no name, which says whether more of it is better; declare it"],
    ),
    "another metric": (
        lambda self: (
            Pipeline()
            .stage("suggest", self.optimizer.suggest)
            .stage("train", tuned)
            .through(score=float)
            .stage("observe", self.optimizer.observe)
            .stage("test", lambda lr: lr)
            .through(loss=float)
            .stage("observe again", self.optimizer.observe)
        ),
        ["observe again: it tells loss, and elsewhere score is told; let both be one metric"],
    ),
    "a parameter that is not always there": (
        lambda self: Pipeline().stage("suggest", self.other.suggest).stage("train", lambda kind, size: 1),
        [
            "train: it takes size, but (kind: str) flows, which has no such field",
            "train: size: not every trial has it: let a later parameter of that name have a default",
        ],
    ),
    "a contract with a parameter that is not always there": (
        lambda self: Pipeline().stage("suggest", self.other.suggest).through(kind=str, size=int),
        ["suggest: it returns (kind: str): size is missing; not every trial has it"],
    ),
    "a contract that does not fit": (
        lambda self: Pipeline().stage("suggest", self.other.suggest).through(Suggested),
        [
            "suggest: it returns (kind: str), but Suggested is declared: lr is missing",
            "suggest: it returns (kind: str), but Suggested is declared: depth is missing",
        ],
    ),
    "no parameter": (
        lambda self: Pipeline().stage("suggest", self.optimizer.suggest).through(dept=int),
        ["suggest: dept has to be a parameter; did you mean depth?, or a dict, got int"],
    ),
    "a parameter of another type": (
        lambda self: Pipeline().stage("suggest", self.optimizer.suggest).through(lr=str),
        ["suggest: it returns (lr: float, depth: int): lr has to be str, got float"],
    ),
    "a cache": (
        lambda self: Pipeline().stage("suggest", self.optimizer.suggest).through(cache=True),
        ["suggest: cache cannot stand here: each suggestion is another one"],
    ),
    "observe in one of two branches": (
        lambda self: (
            Pipeline()
            .through(n=int)
            .conditional(lambda n: n > 1, Pipeline().stage("suggest", self.optimizer.suggest))
            .stage("train", lambda n: n)
            .through(score=float)
            .stage("observe", self.optimizer.observe)
        ),
        ["observe: no stage before it is self.optimizer.suggest"],
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_mistakes_are_told_before_anything_runs(mistake: str) -> None:
    pipeline, expected = WRONG[mistake]
    found = problems_of(pipeline)
    assert len(found) == len(expected), found
    for problem, beginning in zip(found, expected, strict=True):
        assert problem.startswith(beginning)


def test_no_optimizer_is_a_stage_that_no_field_holds() -> None:
    optimizer = RandomOptimizer(SPACE)
    with pytest.raises(PipelineDefinitionError, match="let an Experiment hold it in a field, such as"):
        Pipeline().stage("suggest", optimizer.suggest).run_local()


def test_bound_methods_of_what_no_field_holds_are_stages_as_ever() -> None:
    seen: list[int] = []
    Pipeline().stage("one", lambda: 1).stage("append", seen.append).run_local()
    assert seen == [1]
