"""Experiments whose plan, or whose fields times its branches, the server would refuse."""

import pytest

from metta.sweep.workflows.policies import RETRY
from tests.rig import Rig, failure_of

CODE = """
from typing import Any
from metta.sweep.experiments.base import Experiment, Pipeline

def one(x: int) -> int:
    return x + 1

long = Pipeline()
for n in range(9000):
    long = long.stage(f"stage_{n}" + "x" * 85, one)

class Wide(Experiment):
    text: str = ""

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().parallel({f"b{n}": Pipeline().stage("one", one) for n in range(300)})
"""


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("long", "", "make parts of the pipeline experiments of their own"),
        ("Wide", "x" * 30_000, "put what is large into a file"),
    ],
)
async def test_what_the_server_would_refuse_fails_at_once(
    rig: Rig, name: str, text: str, problem: str
) -> None:
    (rig.folder / "sized.py").write_text(CODE, "utf-8")
    given = {"experiment": f"sized:{name}", "input": 1, "fields": {"text": text} if text else {}}
    handle = await rig.client.start_workflow("Experiment", given, id=f"x-{rig.queue}", task_queue=rig.queue)
    failure = await failure_of(handle)
    assert (failure.type, problem in failure.message) == ("DefinitionError", True)
    assert not rig.store.outcome_log(handle.id).exists()  # the name is free


def test_results_that_are_too_large_are_not_tried_again() -> None:
    assert RETRY.non_retryable_error_types == ["PayloadsTooLarge"]
