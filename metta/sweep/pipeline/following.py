"""Following: which predicate is asked right behind a stage, so that it can be asked in the same call."""

from typing import Literal, NamedTuple

from metta.sweep.contracts.plans import (
    At,
    ConditionalStep,
    LoopStep,
    ParallelStep,
    PipelineStep,
    Plan,
    StageStep,
    Step,
)


class Next(NamedTuple):
    """The predicate behind a stage.

    Args:
        path: Its step.
        turn: Whether it is asked in the stage's own turn, before the first turn of a loop, or before the
            next turn of the loop around the stage.
    """

    path: str
    turn: Literal["same", "first", "next"]

    def behind(self, at: At) -> At:
        """Which asking of the predicate it is, behind one run of the stage."""
        match self.turn:
            case "same":
                return At(self.path, at.turns)
            case "first":
                return At(self.path, (*at.turns, 0))
            case "next":
                return At(self.path, (*at.turns[:-1], at.turns[-1] + 1))


def predicates_behind(plan: Plan) -> dict[str, Next]:
    """The predicates that are asked right behind stages, by the stage's path."""
    found: dict[str, Next] = {}
    _walk(plan, None, found)
    return found


def _walk(plan: Plan, after: Next | None, found: dict[str, Next]) -> None:
    for number, step in enumerate(plan.steps):
        is_last = number + 1 == len(plan.steps)
        behind = after if is_last else _asked_first(plan.steps[number + 1])
        match step:
            case StageStep():
                if behind:
                    found[step.path] = behind
            case PipelineStep():
                _walk(step.body, behind, found)
            case ConditionalStep():
                _walk(step.then, behind, found)
                _walk(step.otherwise, behind, found)
            case LoopStep():
                _walk(step.body, Next(step.path, "next"), found)
            case ParallelStep():
                for branch in step.branches:
                    _walk(branch, None, found)


def _asked_first(step: Step) -> Next | None:
    match step:
        case ConditionalStep():
            return Next(step.path, "same")
        case LoopStep():
            return Next(step.path, "first")
        case PipelineStep():
            return _asked_first(step.body.steps[0]) if step.body.steps else None
    return None
