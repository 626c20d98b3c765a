"""What a sweep tells of itself when it is a stage, and the budget that it has of its own."""

from pathlib import Path
from typing import Any

import pytest

from metta.sweep import Budget, DefinitionError, Trial, Uniform
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.importing import importing
from metta.sweep.contracts.references import Reference
from metta.sweep.contracts.sweeps import SweepInput
from metta.sweep.contracts.values import Value
from metta.sweep.experiments import SweepExperiment

X = {"x": Uniform(0, 1)}

Sweep: Any = SweepExperiment
"""Without its types: mistakes that type checkers would find, too."""


def train(params: dict[str, Any]) -> dict[str, float]:
    return {"accuracy": params["x"]}


@pytest.mark.parametrize("budget", [3, Budget(trials=3)])
def test_a_budget_of_its_own_holds_where_none_is_given(project: Path, budget: Budget | int) -> None:
    sweep = SweepExperiment(train, X, metric="accuracy", budget=budget)
    assert len(sweep.run(debug=True).trials) == 3
    assert len(sweep.run(2, debug=True).trials) == 2


def test_mistakes_in_its_budget_are_told_with_all_others() -> None:
    with pytest.raises(DefinitionError) as caught:
        Sweep(train, X, name="a b", budget=-3)
    assert [problem.split(",")[0] for problem in caught.value.problems] == [
        "name 'a b' has to be letters",
        "budget: trials: input should be greater than or equal to 1",
    ]
    with pytest.raises(DefinitionError, match="budget: write a number of trials, or limits such as"):
        Sweep(train, X, budget="many")


def test_it_gives_the_input_of_its_workflow() -> None:
    sweep = SweepExperiment(train, X, metric="accuracy", seed=3, budget=Budget(trials=9, seconds=60))
    made = SweepInput.model_validate(sweep.child_input(Value()))
    assert made.objective == f"{__name__}:train"
    assert (made.resume, made.client, made.seed) == (True, "metta.sweep", 3)
    assert made.budget == Budget(trials=9, seconds=60)
    assert made.spec.differences(sweep._spec.model_copy(update={"objective": made.objective})) == []
    assert sweep.child_workflow == "Sweep"
    assert sweep.child_summary() == "sweep of train; budget: trials=9, seconds=60.0"


def test_what_has_no_name_is_put_into_the_store(project: Path) -> None:
    sweep = SweepExperiment(lambda params: {"accuracy": params["x"]}, X, metric="accuracy")
    earlier = sweep.run(2, debug=True)
    again = SweepExperiment(lambda params: {"accuracy": 1.0}, X, metric="accuracy", warm_start=earlier)
    made = SweepInput.model_validate(again.child_input(Value()))
    store = Settings.load().store
    for value in (made.objective, *made.warm_start):
        assert store.value_path(str(value).split(":")[1]).is_file()
    assert Reference.parse(str(made.objective)).kind == "value"


def test_one_that_was_made_while_names_were_imported_is_checked_when_it_is_asked() -> None:
    with importing():
        sweep = Sweep(train, X, goal="max")
    with pytest.raises(DefinitionError, match="goal: input should be 'maximize' or 'minimize'"):
        sweep.child_input(Value())


def test_in_a_local_run_it_searches_in_this_process(project: Path) -> None:
    seen = []

    def objective(trial: Trial) -> dict[str, float]:
        seen.append(trial.number)
        return {"accuracy": trial.params["x"]}

    results = SweepExperiment(objective, X, metric="accuracy", budget=2).run_here(None)
    assert seen == [0, 1]
    assert results.summary()["trials"] == 2
