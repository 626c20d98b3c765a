"""The fields of an experiment, and what is wrong with them before anything runs."""

from _thread import allocate_lock
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from pydantic import Field

from metta.sweep import DefinitionError, StageFailed
from metta.sweep.contracts.errors import DefinitionReached
from metta.sweep.contracts.experiments import ExperimentInput
from metta.sweep.contracts.importing import importing
from metta.sweep.contracts.values import Value
from metta.sweep.experiments import Experiment
from metta.sweep.experiments.base import Pipeline

if TYPE_CHECKING:
    from decimal import Decimal


class Mode(Enum):
    QUICK = "quick"


class Refine(Experiment):
    objective = "mine.py:train"
    limit: ClassVar[int] = 3
    _hidden: int = 1
    threshold: float = 0.9
    folder: Path = Path("data")
    wait: timedelta | None = None
    modes: list[Mode] = Field(default_factory=list)
    json: bool = False  # which pydantic's models have, too

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("begin", self.begin).stage("end", self.end)

    def begin(self, x: float) -> float:
        return x + self.threshold

    def end(self, x: float) -> float:
        return x * 2


class Longer(Refine):
    rounds: int
    threshold = 0.5


class Unready(Experiment):
    x: int = 1


class Wrong(Refine):
    def pipeline(self) -> Any:
        return None


class Typed(Refine):
    price: "Decimal"


class Odd(Refine):
    function: Any = None
    more: Any = None
    class_: type[Path] = Path


def test_fields_are_validated_and_make_the_same_experiment_again() -> None:
    given: dict[str, Any] = {"threshold": 1, "folder": "x", "wait": "PT3S", "modes": ["quick"]}
    experiment = Refine(**given)
    assert (experiment.threshold, experiment.folder) == (1.0, Path("x"))
    assert (experiment.wait, experiment.modes) == (timedelta(seconds=3), [Mode.QUICK])
    plain = {"threshold": 1.0, "folder": "x", "wait": "PT3S", "modes": ["quick"], "json": False}
    assert experiment.fields == plain
    assert Refine(**experiment.fields) == experiment  # type: ignore[arg-type] # they are JSON
    assert hash(Refine()) == hash(Refine())
    assert Refine() != experiment
    assert Refine(threshold=0.8) != Longer(threshold=0.8, rounds=1)
    assert repr(Longer(rounds=2)).startswith("Longer(threshold=0.5, folder=PosixPath('data'), wait=None, ")


def test_a_mutable_default_is_not_shared() -> None:
    Refine().modes.append(Mode.QUICK)
    assert Refine().modes == []


@pytest.mark.parametrize(
    ("kind", "args", "fields", "problems"),
    [
        (
            Longer,
            (3,),
            {"treshold": 1, "folder": 3},
            [
                "give its fields by name, got 3",
                "treshold is unknown; did you mean threshold?",
                "folder: input is not a valid path for <class 'pathlib.Path'>, got 3",
                "rounds is missing",
            ],
        ),
        (Refine, (), {"limit": 3}, ["limit is unknown. Known: folder, json, modes, threshold, wait"]),
        (Refine, (), {"threshold": float("nan")}, ["threshold: input should be a finite number, got nan"]),
        (Unready, (), {}, ["it does not define pipeline; write `def pipeline(self) -> Pipeline`"]),
        (
            Odd,
            (),
            {"function": allocate_lock(), "json": True, "more": {"a": [object()]}},
            [
                "function: <unlocked _thread.lock object at ",
                "more: {'a': [<object object at ",
                "class_: <class 'pathlib.Path'> of the type type has no form in JSON; let the stage",
            ],
        ),
        (Typed, (), {}, ["its annotations cannot be read: name 'Decimal' is not defined; define or import"]),
    ],
)
def test_all_mistakes_are_told_at_once(
    kind: Any, args: tuple[Any, ...], fields: dict[str, Any], problems: list[str]
) -> None:
    with pytest.raises(DefinitionError) as caught:
        kind(*args, **fields)
    assert caught.value.subject == kind.__name__
    assert len(caught.value.problems) == len(problems)
    for told, expected in zip(caught.value.problems, problems, strict=True):
        assert told.startswith(expected)


def test_what_has_no_form_in_json_is_told_with_its_type_and_what_to_do() -> None:
    remedy = (
        "let the stage that needs it make it, or make it no field: a ClassVar, or a name with a leading"
        " underscore"
    )
    with pytest.raises(DefinitionError) as caught:
        Odd(function=allocate_lock(), more=[object()])
    lock, within, _ = caught.value.problems
    assert lock.endswith(f" of the type lock has no form in JSON; {remedy}")
    why = "Unable to serialize unknown type: <class 'object'>"
    assert within.endswith(f" of the type list has no form in JSON ({why}); {remedy}")


def test_a_default_that_does_not_fit_is_told_where_it_is_used() -> None:
    class Loose(Refine):
        threshold: Any = "high"
        folder = 3  # type: ignore[assignment] # which is the mistake

    assert Loose(folder=Path()).threshold == "high"
    with pytest.raises(DefinitionError, match=r"Loose: folder: input is not a valid path for .*, got 3"):
        Loose()


def test_a_type_that_pydantic_does_not_know_is_named() -> None:
    class Strange(Refine):
        stream: Pipeline[Any] | None = None
        x: int = 1

    with pytest.raises(DefinitionError, match="Strange: stream: pydantic cannot validate"):
        Strange()


def test_a_field_is_not_called_like_a_method() -> None:
    with pytest.raises(DefinitionError) as caught:

        class Taken(Refine):
            run: bool = False  # type: ignore[assignment] # which is the mistake
            fields: int  # type: ignore[assignment]

    assert str(caught.value) == (
        "2 mistakes in Taken:"
        "\n- the field run is called like Experiment.run; call it otherwise"
        "\n- the field fields is called like Experiment.fields; call it otherwise"
    )


def test_nobody_but_stages_changes_fields() -> None:
    experiment: Any = Refine()
    with pytest.raises(AttributeError, match=r"Refine.threshold cannot be changed here: only stages change"):
        experiment.threshold = 0.1
    with pytest.raises(AttributeError, match=r"Refine.threshold cannot be deleted: it is a field"):
        del experiment.threshold
    assert experiment.threshold == 0.9


def test_what_pipeline_returns_is_checked() -> None:
    with pytest.raises(DefinitionError, match=r"Wrong: pipeline\(\) has to return a Pipeline, got None"):
        Wrong().run_local()


def test_it_runs_in_this_process() -> None:
    assert Refine(threshold=1).run_local(2.0) == Refine(threshold=1).run(2.0, debug=True) == 6.0
    with pytest.raises(StageFailed, match="stage begin failed: its input: it does not fit float"):
        Refine().run("a", debug=True)


@pytest.mark.parametrize("call", ["run", "start"])
def test_the_import_of_a_script_ends_where_it_is_run(call: str) -> None:
    experiment = Refine()
    with importing("experiment"), pytest.raises(DefinitionReached) as caught:
        getattr(experiment, call)(0, name="digits")
    assert caught.value.experiment is experiment
    assert caught.value.options == {"input": 0, "name": "digits"}
    with importing("experiment"), pytest.raises(DefinitionReached):
        Refine.attach("digits")


class Endless(Experiment):
    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("again", Endless())


def test_one_that_holds_itself_without_end_is_refused() -> None:
    with pytest.raises(DefinitionError, match="Endless: it holds itself as a stage, again and again"):
        Endless().checked()


def test_as_a_stage_it_has_to_fit_what_flows_in() -> None:
    fits = Pipeline().through(x=int).stage("longer", Takes())
    assert fits.run_local({"x": 2}) == "xx"
    with pytest.raises(DefinitionError, match=r"test_experiment\.py:.*: stage takes: .*x") as caught:
        Pipeline().through(y=int).stage("takes", Takes()).plan()
    assert len(caught.value.problems) == 1
    with pytest.raises(DefinitionError, match="stage after"):
        Pipeline().through(x=int).stage("takes", Takes()).stage("after", len_of).plan()


def len_of(numbers: list[int]) -> int:
    return len(numbers)


class Takes(Experiment):
    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("text", self.text)

    def text(self, x: int) -> str:
        return "x" * x


def test_as_a_stage_it_says_which_workflow_runs_it() -> None:
    experiment = Longer(rounds=3)
    made = ExperimentInput.model_validate(experiment.child_input(Value()))
    assert made.experiment == f"{__name__}:Longer"
    assert (made.fields, made.resume, made.client) == (experiment.fields, True, "metta.sweep")
    assert (experiment.child_workflow, experiment.child_summary()) == ("Experiment", repr(experiment))
