"""Inputs of experiments."""

from metta.sweep.contracts.experiments import ExperimentInput


def test_a_limit_is_its_own_unless_it_is_told_to_be_another_ones() -> None:
    alone = ExperimentInput(experiment="mine.py:Two", client="test")
    assert alone.owner_of("trials", "deep/go/two") == "deep/go/two"
    owners = {"trials": "deep/go"}
    shared = alone.model_copy(update={"granted": True, "owners": owners})
    assert shared.owner_of("trials", "deep/go/two") == "deep/go"
    by_an_older_worker = alone.model_copy(update={"granted": True})
    assert by_an_older_worker.owner_of("trials", "deep/go/two") == "deep"
