"""Random pipelines give on the engine what they give in this process, and what their recipes say."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from metta.sweep.contracts.shelves import Folder
from tests.pipeline.recipes import Cooked, Recipe, expected, recipes, small
from tests.rig import Rig
from tests.workflows.ends import engine_end, local_end

TOGETHER = 8
"""So many pipelines run at the same time."""

cases = st.tuples(recipes(2), small, small)


@pytest.mark.timeout(180)
# a smaller example takes as long to try as the first one, and there would be hundreds
@settings(
    max_examples=3,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(cases, min_size=TOGETHER, max_size=TOGETHER))
async def test_random_pipelines_end_on_the_engine_as_they_do_in_this_process(
    testing_rig: Rig, tmp_path: Path, together: list[tuple[Recipe, int, int]]
) -> None:
    inputs: list[JsonValue] = [{"x": x, "y": y} for _, x, y in together]
    cooked = [Cooked(recipe=recipe) for recipe, _, _ in together]
    ends = await asyncio.gather(*map(engine_end, [testing_rig] * TOGETHER, cooked, inputs))
    for (recipe, x, y), experiment, input, end in zip(together, cooked, inputs, ends, strict=True):
        assert end == local_end(experiment, input, Folder(tmp_path)), f"{experiment} of {input}"
        assert (end.value.x, end.value.y) == expected(recipe, x, y), f"{experiment} of {input}"
