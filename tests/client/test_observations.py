"""Observations of earlier sweeps, as a program gets them."""

from pathlib import Path

import pytest

from metta.sweep import DefinitionError, Infeasible, Observation, Trial, Uniform, load_observations
from metta.sweep.client.results import Results
from metta.sweep.contracts.errors import SweepNotFound
from metta.sweep.contracts.failures import Failure
from metta.sweep.experiments import SweepExperiment
from metta.sweep.optimizers import OptunaOptimizer

X = {"x": Uniform(0, 1)}


def train(trial: Trial) -> dict[str, float]:
    if trial.number == 1:
        raise Infeasible("not this one")
    return {"accuracy": trial.params["x"], "size": 3.0}


def ran(name: str = "earlier", trials: int = 4) -> Results:
    """A sweep that ran in this process."""
    sweep = SweepExperiment(train, X, name=name, metric="accuracy", seed=1)
    return sweep.run(trials, debug=True)


def essence(found: list[Observation]) -> list[object]:
    """All but the numbers, which differ from load to load."""
    return [(obs.trial.params, obs.result, obs.metrics, obs.seconds) for obs in found]


def test_they_are_the_trials_of_the_sweep_in_their_order(project: Path) -> None:
    trials = ran().trials
    found = load_observations("earlier")
    assert [obs.trial.params for obs in found] == [record.params for record in trials]
    assert [obs.result for obs in found[:1] + found[2:]] == [
        {"accuracy": record.params["x"]} for record in trials if record.number != 1
    ]
    assert isinstance(found[1].result, Failure)
    assert found[1].result.kind == "infeasible"
    assert found[0].metrics == {"accuracy": trials[0].params["x"], "size": 3.0}
    assert [obs.seconds for obs in found] == [record.seconds for record in trials]


def test_names_paths_and_results_lead_to_the_same(project: Path) -> None:
    results = ran()
    folder = project / ".metta-sweep/sweeps/earlier"
    sources = ("earlier", folder, str(folder), folder / "ledger.jsonl", Path(".metta-sweep/sweeps/earlier"))
    for source in sources:
        assert essence(load_observations(source)) == essence(load_observations(results))


def test_no_two_of_them_have_the_same_number_and_none_has_that_of_a_new_trial(project: Path) -> None:
    ran()
    ran("another", 3)
    numbers = [obs.trial.number for name in ("earlier", "another") for obs in load_observations(name)]
    assert len(set(numbers)) == 7
    assert max(numbers) < 0
    assert numbers[:4] == sorted(numbers[:4])
    assert numbers[4:] == sorted(numbers[4:])


def test_an_optimizer_can_be_told_of_all_of_them(project: Path) -> None:
    ran(trials=6)
    warm = OptunaOptimizer(X, seed=3, n_startup_trials=2)
    for obs in load_observations("earlier"):
        warm.observe(obs.trial, obs.result)
    cold = OptunaOptimizer(X, seed=3, n_startup_trials=2)
    [trial] = warm.suggest(1)
    assert trial.number == 0
    assert trial.params != cold.suggest(1)[0].params


def test_a_path_is_not_taken_for_the_name_of_a_sweep(project: Path) -> None:
    ran()
    with pytest.raises(DefinitionError, match=r"there is no ledger at .*/earlier"):
        load_observations(Path("earlier"))


def test_what_is_not_there_is_told(project: Path) -> None:
    ran()
    with pytest.raises(SweepNotFound, match="there is no sweep 'earlyer' here; did you mean earlier"):
        load_observations("earlyer")
