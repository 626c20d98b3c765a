"""Learning: what the sweep of a task begins with, of what the sweeps before it have found out."""

from collections.abc import Iterator, Mapping
from typing import Any

from metta.sweep.contracts.distributions import Constant
from metta.sweep.contracts.errors import SpaceError
from metta.sweep.contracts.spaces import SearchSpace
from metta.sweep.contracts.trials import Observation, Trial
from metta.sweep.experiments.tasks import CurriculumContext, Task


def learnt(ctx: CurriculumContext, space: SearchSpace) -> list[Observation]:
    """All trials of the rounds before, as trials of the task at hand.

    Args:
        ctx: How far the curriculum is.
        space: The space of the task; what has no place there is left out.
    """
    from metta.sweep.client.observations import load_observations

    names = [name for result in ctx.results.values() for name in result.sweeps]
    found = (moved(observation, space) for name in names for observation in load_observations(name))
    return [observation for observation in found if observation is not None]


def first_points(ctx: CurriculumContext, task: Task, space: SearchSpace) -> list[dict[str, Any]]:
    """What is tried first at a task that is new: the best parameters of the one that ran last."""
    if ctx.last is None or task.name in ctx.results:
        return []
    point = {name: value for name, value in ctx.last.params.items() if _is_searched(name, space)}
    return [point] if point and _fits(point, space, partial=True) else []


def moved(observation: Observation, space: SearchSpace) -> Observation | None:
    """An observation with the constants of another space; None when it is no point of that."""
    trial = observation.trial
    searched = {name: value for name, value in trial.params.items() if _is_searched(name, space)}
    params = {**searched, **dict(_constants(searched, space))}
    if not _fits(params, space):
        return None
    twin = Trial(params, trial.number, ended_at=trial.ended_at)
    return Observation(twin, observation.result, observation.metrics, observation.seconds)


def _is_searched(name: str, space: SearchSpace) -> bool:
    return name in space and not isinstance(space[name], Constant)


def _constants(params: Mapping[str, Any], space: SearchSpace) -> Iterator[tuple[str, Any]]:
    constants = {name: d.value for name, d in space.items() if isinstance(d, Constant)}
    active = space.active({**params, **constants})
    yield from ((name, value) for name, value in constants.items() if name in active)


def _fits(params: Mapping[str, Any], space: SearchSpace, *, partial: bool = False) -> bool:
    try:
        space.validate(params, partial=partial)
    except SpaceError:
        return False
    return True
