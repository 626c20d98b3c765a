"""Restarts: from which stage an experiment is to be run again."""

import asyncio
import re
from collections.abc import Sequence
from contextlib import suppress

from metta.sweep.contracts.errors import DefinitionError, StageFailed, nearest
from metta.sweep.contracts.plans import At, Plan, Position, StageStep
from metta.sweep.contracts.values import Value
from metta.sweep.pipeline.behind import loops_around, stages_in
from metta.sweep.pipeline.interpreter import Interpreter
from metta.sweep.stages.frontier import NotRecorded, Recorded
from metta.sweep.stores.outcomes import Outcomes

NAME = re.compile(r"(?P<path>.+?)(?:\[(?P<turns>\d+(?:,\d+)*)\])?")
"""A stage as people write it: its path, and the turns of the loops around it."""


class _Reached(Recorded):
    """Goes through what is recorded, and notes the stages that it comes to, with what flowed into them."""

    def __init__(self, outcomes: Outcomes) -> None:
        super().__init__(outcomes)
        self.flowing: dict[At, Value] = {}

    async def run_stage(self, step: StageStep, at: At, value: Value) -> Value:
        """What a stage has given."""
        self.flowing[at] = value
        return await super().run_stage(step, at, value)


def restart(name: str, plan: Plan, outcomes: Outcomes, stage: str) -> At:
    """From which run of which stage an experiment is to be run again.

    Args:
        name: Its name.
        plan: Its pipeline.
        outcomes: What is recorded of it.
        stage: The path of a stage, or of a pipeline that is one; in loops with the turns, ``train[2,0]``, or
            without them, which is the last turn that was reached.

    Raises:
        DefinitionError: When there is no such stage, or it was not reached.
    """
    said = NAME.fullmatch(stage)
    path = said["path"] if said else stage
    stages = list(stages_in(plan))
    if path not in stages:
        problem = f"there is no stage {path}{nearest(path, stages)}"
        raise DefinitionError([problem], f"the experiment {name}")
    loops = loops_around(plan, path) or 0
    runs = _runs(plan, outcomes, path, loops)
    if said is None or said["turns"] is None:
        if not runs:
            problem = f"{path} was not reached: without a stage, a retry goes on where it has come to"
            raise DefinitionError([problem], f"the experiment {name}")
        return runs[-1]
    at = At(path, tuple(map(int, said["turns"].split(","))))
    if len(at.turns) != loops:
        problem = f"{path} has a turn for each of the loops around it, {loops}, got {stage}"
        raise DefinitionError([problem], f"the experiment {name}")
    if at not in runs:
        problem = f"{at} was not reached; it was run as {listed(runs)}"
        raise DefinitionError([problem], f"the experiment {name}")
    return at


def reached(plan: Plan, outcomes: Outcomes) -> dict[At, Value]:
    """What flowed into each run of a stage that was reached, in their order."""
    walk = _Reached(outcomes)
    if (began := outcomes.began) is not None:
        position = Position[Value](value=began.input)
        with suppress(NotRecorded, StageFailed):  # so far it went
            asyncio.run(Interpreter(walk).run(plan, position))
    return walk.flowing


def _runs(plan: Plan, outcomes: Outcomes, path: str, loops: int) -> list[At]:
    """Runs of a stage that were reached, in their order; those of a pipeline are those of what is in it."""
    inner = (at for at in reached(plan, outcomes) if at.path == path or at.path.startswith(f"{path}/"))
    return list(dict.fromkeys(At(path, at.turns[:loops]) for at in inner))


def listed(runs: Sequence[At]) -> str:
    """The last few of them, for people."""
    return ", ".join(map(str, runs[-5:])) or "nothing"
