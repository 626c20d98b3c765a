"""What a sweep begins with, said in the plain JSON of any Temporal client."""

from typing import Any

import pytest

from tests.rig import Rig, definition, failure_of

TPE = {"type": "optuna", "n_startup_trials": 2}


async def done(rig: Rig, name: str, **changes: Any) -> list[dict[str, Any]]:
    """The parameters of a sweep's trials, when it is over."""
    handle = await rig.start(definition(**changes), name)
    await handle.result()
    return [record.params for record in rig.table(name).records]


async def test_an_earlier_sweep_and_points_as_json(rig: Rig) -> None:
    earlier = await done(rig, f"earlier-{rig.queue}", budget=6)
    folder = rig.store.sweep_folder(f"earlier-{rig.queue}")
    both = {"optimizer": TPE, "budget": 3, "initial_points": [{"x": 0.125}]}
    warm = await done(rig, f"warm-{rig.queue}", warm_start=f"earlier-{rig.queue}", **both)
    assert warm[0] == {"x": 0.125}
    assert [known.params for known in rig.table(f"warm-{rig.queue}").known] == earlier
    assert await done(rig, f"path-{rig.queue}", warm_start=[str(folder)], **both) == warm
    cold = await done(rig, f"cold-{rig.queue}", **both)
    assert cold[0] == warm[0]
    assert cold[1:] != warm[1:]


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"warm_start": "nonesuch"}, "SweepNotFound", "there is no sweep 'nonesuch' here"),
        ({"warm_start": "/nowhere"}, "DefinitionError", "there is no ledger at /nowhere"),
        ({"initial_points": [{"y": 1}]}, "DefinitionError", "initial_points: point 0: y is unknown"),
    ],
)
async def test_mistakes_end_the_workflow(rig: Rig, changes: dict[str, Any], kind: str, message: str) -> None:
    failure = await failure_of(await rig.start(definition(budget=1, **changes)))
    assert failure.type == kind
    assert message in failure.message


async def test_what_is_left_out_is_shown(rig: Rig) -> None:
    await done(rig, f"earlier-{rig.queue}", budget=6)
    space = {"x": {"type": "uniform", "low": 0, "high": 0.5}}
    handle = await rig.start(
        definition(budget=1, search_space=space, warm_start=f"earlier-{rig.queue}"), f"narrow-{rig.queue}"
    )
    [warning] = (await handle.result())["progress"]["warnings"]
    assert "of 6 trials of the warm start cannot be used, the first of them because x must be" in warning
