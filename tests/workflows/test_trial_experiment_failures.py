"""How trials that are experiments fail: each with its kind, and with what happened."""

import pytest

from metta.sweep.pipeline.numbers import WAY_OUT
from tests.rig import Rig, failure_of
from tests.workflows.faults import child_of
from tests.workflows.trying import first, tried
from tests.workflows.trying import trying as trying


@pytest.mark.parametrize(
    ("does", "more", "kind", "message"),
    [
        ("nothing", {}, "no_result", f"its experiment gave nothing; {WAY_OUT}"),
        ("text", {}, "bad_metric", f"its result is 'good', which is no number; {WAY_OUT}"),
        ("nan", {}, "bad_metric", "metric 'accuracy' is nan; a metric has to be finite"),
        ("words", {}, "bad_metric", f"metric 'accuracy' is 'high', which is no number; {WAY_OUT}"),
        ("other", {}, "bad_metric", "the trial gave loss, but not 'accuracy', the metric that counts"),
        ("raising", {}, "user", "stage it failed: KeyError: 'no luck today'"),
        ("hungry", {}, "oom", "stage it failed: MemoryError: too much"),
        ("senseless", {}, "infeasible", "stage it failed: Infeasible: x is not for this"),
        ("slow", {"timeout": 0.3}, "timeout", "stage it failed: it took longer than 0.3 s"),
    ],
)
async def test_a_trial_without_a_result_fails_with_kind_and_reason(
    trying: Rig, does: str, more: dict[str, object], kind: str, message: str
) -> None:
    handle = await trying.start(tried("One", {"does": does, **more}, budget=1, max_failures=1))
    assert (await failure_of(handle)).type == "SweepFailed"
    failure = first(trying, handle).failure
    assert failure
    assert (failure.kind, failure.message) == (kind, message)
    if does != "other":  # which is for the search to judge, and the attempt has come to its end
        told = await failure_of(child_of(trying, handle))
        assert (told.type, told.message) == (kind, message)


@pytest.mark.parametrize(
    ("experiment", "fields", "message"),
    [
        ("Trained", {"scael": 2}, "scael is unknown; did you mean scale?"),
        ("One", {}, "does is missing"),
        ("Traind", {}, "there is no 'Traind' in"),
    ],
)
async def test_an_experiment_that_cannot_be_made_fails_its_trial_with_the_mistake(
    trying: Rig, experiment: str, fields: dict[str, object], message: str
) -> None:
    handle = await trying.start(tried(experiment, fields, budget=1, max_failures=1))
    assert message in (await failure_of(handle)).message
    failure = first(trying, handle).failure
    assert failure
    assert failure.kind == "user"
    assert message in failure.message
