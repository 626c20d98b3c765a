"""Behind: what comes after a stage in the order of a pipeline."""

from collections.abc import Iterator

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

Turns = tuple[int, ...]


def behind(plan: Plan, at: At) -> dict[str, Turns]:
    """A run of a step, and all that comes after it: by path, the first turns that do.

    All turns from there on do, too, as tuples are compared: in nested loops later turns of the outer one come
    after. Branches beside a step do not come after it; what merges them does.

    Args:
        plan: The pipeline.
        at: The run of one of its stages, or of a pipeline that is a stage, with a turn for each loop around.
    """
    found: dict[str, Turns] = {}
    _walk(plan, at, 0, found)
    return found


def loops_around(plan: Plan, path: str) -> int | None:
    """In how many loops a step stands; None when there is none of that path."""
    for step in plan.steps:
        if step.path == path:
            return 0
        for inner in _inside(step):
            if (loops := loops_around(inner, path)) is not None:
                return loops + isinstance(step, LoopStep)
    return None


def stages_in(plan: Plan) -> Iterator[str]:
    """Paths of all stages, pipelines that are stages included, but for those that have no name."""
    for step in plan.steps:
        if isinstance(step, StageStep | PipelineStep) and "@through" not in step.path:
            yield step.path
        for inner in _inside(step):
            yield from stages_in(inner)


def _walk(plan: Plan, at: At, depth: int, found: dict[str, Turns]) -> bool:
    """Whether the run is one of this plan, in so many loops."""
    for number, step in enumerate(plan.steps):
        if _is_in(step, at, depth, found):
            for later in plan.steps[number + 1 :]:
                found.update(dict.fromkeys(_paths(later), at.turns[:depth]))
            return True
    return False


def _is_in(step: Step, at: At, depth: int, found: dict[str, Turns]) -> bool:
    if step.path == at.path:
        found.update(dict.fromkeys(_paths(step), at.turns[:depth]))
        return True
    match step:
        case LoopStep():
            if not _walk(step.body, at, depth + 1, found):
                return False
            following = (*at.turns[:depth], at.turns[depth] + 1)
            for path in _paths(step):  # what comes before it in this turn comes after it in the next one
                found.setdefault(path, following)
            return True
        case ParallelStep():
            if not any(_walk(branch, at, depth, found) for branch in step.branches):
                return False
            found[step.path] = at.turns[:depth]
            return True
    return any(_walk(inner, at, depth, found) for inner in _inside(step))


def _paths(step: Step) -> Iterator[str]:
    """A step's path, and those of all steps inside it."""
    yield step.path
    for plan in _inside(step):
        for inner in plan.steps:
            yield from _paths(inner)


def _inside(step: Step) -> tuple[Plan, ...]:
    match step:
        case StageStep():
            return ()
        case ParallelStep():
            return step.branches
        case ConditionalStep():
            return step.then, step.otherwise
        case LoopStep() | PipelineStep():
            return (step.body,)
