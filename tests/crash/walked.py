"""The pipelines of the examples with a place to kill the worker before and behind the code of each stage."""

import os
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from examples import pipeline_cleaning, pipeline_sweeps, pipeline_train
from metta.sweep import current_stage
from metta.sweep.experiments.base import Pipeline

POINTS = Path("points")
"""A file for each place that was reached."""

PATIENCE_S = 30.0


def noted(stage: str, when: str) -> None:
    """Note each time that a place is reached, and wait there to be killed the first time."""
    point = POINTS / f"{current_stage().key.replace('/', '.')}-{when}"
    POINTS.mkdir(exist_ok=True)
    is_first = not point.exists()
    with point.open("a", encoding="utf-8") as file:
        file.write("reached\n")
    deadline = monotonic() + PATIENCE_S
    while is_first and "WALKED" in os.environ and monotonic() < deadline:
        sleep(0.05)


def before(stage: str, data: Any) -> None:
    noted(stage, "before")


def after(stage: str, data: Any) -> None:
    noted(stage, "after")


def walked(pipeline: Pipeline[Any]) -> Pipeline[Any]:
    return pipeline.with_global_hooks(before=before, after=after)


train, cleaning, sweeps = (
    walked(example.pipeline) for example in (pipeline_train, pipeline_cleaning, pipeline_sweeps)
)
