import pytest

from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.experiments import ExperimentSpec
from metta.sweep.contracts.jobs import Job
from metta.sweep.contracts.models import parse
from metta.sweep.contracts.objective_specs import ObjectiveSpec, renamed
from metta.sweep.contracts.sweeps import SweepSpec

SPACE = {"x": {"type": "uniform", "low": 0, "high": 1}}
REFINE = ExperimentSpec(experiment="digits.refining:Refine", fields={"rows": 40})


def spec(objective: object, **more: object) -> SweepSpec:
    return parse(SweepSpec, {"objective": objective, "search_space": SPACE, **more}, "the sweep")


def problems(objective: object, **more: object) -> tuple[str, ...]:
    with pytest.raises(DefinitionError) as caught:
        spec(objective, **more)
    return caught.value.problems


@pytest.mark.parametrize("written", [REFINE, REFINE.model_dump()], ids=["made", "as JSON"])
def test_an_experiment_is_an_objective_of_the_job_lane(written: object) -> None:
    made = spec(written)
    assert made.objective == REFINE
    assert (made.lane, made.objective_name) == ("job", "Refine")
    assert SweepSpec.model_validate_json(made.model_dump_json()) == made


def test_functions_and_programs_stay_what_they_were() -> None:
    assert spec("digits:train").objective == "digits:train"
    assert spec({"command": ["true"]}).objective == spec(Job(command=["true"])).objective
    assert isinstance(spec("train.py").objective, Job)
    assert spec("digits:train").lane == "session"


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        ({"experiment": "a:B", "typo": 1}, "objective.typo is unknown."),
        ({"fields": {}}, "objective.experiment is missing"),
        ({"experiment": 3}, "objective.experiment: input should be a valid string, got 3"),
        ({"experiment": "a:B", "fields": 3}, "objective.fields: input should be a valid dictionary, got 3"),
    ],
)
def test_mistakes_in_it_are_told_without_tags(objective: object, expected: str) -> None:
    [problem] = problems(objective)
    assert problem.startswith(expected)


def test_fields_that_are_too_large_to_be_sent_along_are_refused() -> None:
    objective = {"experiment": "a:B", "fields": {"data": "x" * 60_000}}
    size = len(ExperimentSpec.model_validate(objective).model_dump_json())
    assert problems(objective) == (
        f"objective: its fields have {size:,} bytes, and are sent along with each trial, where 50,000 are"
        " allowed: put what is large into a file, and give its path",
    )


def test_what_only_jobs_have_is_refused_with_what_to_do() -> None:
    executor, resources = problems(REFINE, executor={"type": "worker"}, resources={"cpu": 2})
    assert executor == (
        "executor: the objective is an experiment, whose stages run on the workers of the sweep's queue, not"
        " where 'worker' runs trials: leave the executor out, or give LocalExecutor(max_parallel=N) for N"
        " trials at the same time"
    )
    assert resources == (
        "resources: the objective is an experiment, and its stages are given what their workers have: leave"
        ' resources and on_oom="grow" out'
    )
    assert problems(REFINE, retry={"max_attempts": 2, "on_oom": "grow"}) == (resources,)
    assert spec(REFINE, executor={"type": "local", "options": {"max_parallel": 2}}, timeout=3).timeout == 3


def test_another_experiment_or_other_fields_are_another_definition() -> None:
    here = spec(REFINE)
    moved = spec({"experiment": "digits.refining:Refine", "fields": {"rows": 40}})
    assert here.differences(moved) == []
    assert here.differences(spec({"experiment": "digits.refining:Refine", "fields": {"rows": 41}})) == [
        "objective.fields.rows was 40 and is now 41"
    ]
    assert here.differences(spec({"experiment": "digits.refining:Other", "fields": {"rows": 40}})) == [
        "objective.experiment was 'digits.refining:Refine' and is now 'digits.refining:Other'"
    ]
    assert len(here.differences(spec("digits:train"))) == 1


@pytest.mark.parametrize(
    ("objective", "expected"),
    [(REFINE, REFINE.model_copy(update={"experiment": "value:12:Refine"})), ("a:b", "value:12:Refine")],
)
def test_code_that_travels_by_value_gets_another_reference(
    objective: ObjectiveSpec, expected: ObjectiveSpec
) -> None:
    assert renamed(objective, "value:12:Refine") == expected
