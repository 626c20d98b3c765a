"""What stages make of the fields of their experiment, in local runs."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from metta.sweep import DefinitionError, StageFailed
from metta.sweep.experiments import Experiment
from tests.experiments.durable import (
    Bare,
    Branching,
    Cached,
    Counting,
    Gathering,
    Large,
    Meeting,
    Merging,
    Mistaken,
    Outer,
    Predicted,
    Rescued,
    Unfit,
    Unsteady,
)

RESULTS: list[tuple[Experiment, Any]] = [
    (Counting(), {"total": 10, "seen": [0, 1, 2, 3]}),
    (Counting(base=3), {"total": 13, "seen": [0, 1, 2, 3]}),
    (Unsteady(), [2, 1]),
    (Rescued(), [7, 0, 1]),
    (Branching(), [1, 2]),
    (Large(), 1 + sum(range(5000))),
    (Predicted(), "high"),
    (Outer(), [6, 11]),
    (Gathering(), 40),
]

UNFIT = {
    "nested": "its fields: setting.rate: input should be a valid number",
    "keys": "its fields: pairs",
    "union": "its fields: level comes back from JSON as 'high', and was <Level.HIGH: 'high'>",
    "formless": "its fields: more: {'a': <object object at ",
}

MISTAKES = {
    "undeclared": "what Mistaken does not declare as a field is not kept: totall is unknown; did you mean",
    "type": "total: input should be a valid integer",
    "in place": "its fields: names.0: input should be a valid string",
    "deleted": "Mistaken.total cannot be deleted: it is a field",
}


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("experiment", "expected"), RESULTS)
def test_later_stages_find_what_earlier_ones_have_made_of_them(
    experiment: Experiment, expected: object
) -> None:
    before = experiment.fields
    assert experiment.run_local() == expected
    assert experiment.fields == before, "the experiment itself stays as it was defined"
    assert type(experiment)(**before).run_local() == expected or isinstance(experiment, Unsteady)


def test_two_branches_cannot_change_the_same_field() -> None:
    with pytest.raises(StageFailed) as caught:
        Branching(same=True).run_local()
    assert caught.value.failure.kind == "contract"
    assert "the branches one and two have both changed the field left; let one of them" in str(caught.value)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_cannot_be_kept_fails_the_stage(mistake: str) -> None:
    with pytest.raises(StageFailed) as caught:
        Mistaken(mistake=mistake).run_local()
    assert MISTAKES[mistake] in str(caught.value)
    assert caught.value.failure.stage == "err"


@pytest.mark.parametrize("how", UNFIT)
def test_what_would_come_back_as_something_else_fails_the_stage(how: str) -> None:
    with pytest.raises(StageFailed) as caught:
        Unfit(how=how).run_local()
    assert UNFIT[how] in str(caught.value)
    assert caught.value.failure.kind == "contract"
    assert Unfit(how=how, rescued=True).run_local() == 7


def test_what_would_come_back_as_something_else_is_refused_at_once() -> None:
    class Secret(Experiment):
        key: SecretStr = SecretStr("a")

    with pytest.raises(DefinitionError, match="key comes back from JSON as"):
        Secret(key=SecretStr("hunter2"))


def test_without_fields_branches_run_side_by_side() -> None:
    met = Meeting().run_local()
    assert (met.wait, met.come) == ({"waited": 1}, {"came": 1})


def test_without_fields_nothing_can_be_assigned_either() -> None:
    with pytest.raises(StageFailed, match="what Bare does not declare as a field is not kept"):
        Bare().run_local()


def test_a_predicate_changes_nothing() -> None:
    with pytest.raises(StageFailed, match=r"its predicate: .*Merging.level cannot be changed here"):
        Merging().run_local()


def test_what_is_cached_depends_on_the_fields_and_cannot_change_them() -> None:
    runs = Path("slow")
    for level, expected in ((1, 2), (1, 2), (5, 6)):
        assert Cached(level=level).run_local().n == expected
    assert runs.read_text("utf-8") == "run\n" * 2
    with pytest.raises(StageFailed, match="its fields: level changed, and what is cached would not do that"):
        Cached(changes=True).run_local()
    with pytest.raises(StageFailed):  # nothing was cached
        Cached(changes=True).run_local()


def test_outside_of_its_stages_nothing_changes_them() -> None:
    experiment: Any = Counting()
    with pytest.raises(AttributeError, match=r"Counting.total cannot be changed here: only stages change"):
        experiment.total = 1
    assert experiment.total == 0


class Impure(Experiment):
    total: int = 0

    def pipeline(self) -> Any:
        self.total = 1


def test_a_pipeline_does_not_depend_on_what_it_changes() -> None:
    with pytest.raises(AttributeError, match="only stages change the fields of their experiment"):
        Impure().run_local()
