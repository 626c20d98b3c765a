"""Warm starts: what an experiment is told to begin with, as names and observations."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from metta.sweep.contracts.errors import shown
from metta.sweep.contracts.trials import Observation

if TYPE_CHECKING:
    from metta.sweep.client.results import Results

Source: TypeAlias = "str | Path | Results"
AnyWarmStart: TypeAlias = "Source | Sequence[Source | Observation]"


class WarmStart(NamedTuple):
    """What was given for it.

    Args:
        sources: Names of sweeps and paths of ledgers.
        observations: Observations themselves.
        problems: What is none of these.
    """

    sources: list[str]
    observations: list[Observation]
    problems: list[str]


def warm_start_of(given: object) -> WarmStart:
    """Sort out a warm start; waits for the end of sweeps whose results are given."""
    found = WarmStart([], [], [])
    for item in given if isinstance(given, list | tuple) else [given]:
        match item:
            case None:
                pass
            case str():
                found.sources.append(item)
            case Path():
                found.sources.append(str(item.absolute()))
            case Observation():
                found.observations.append(item)
            case _:
                _add_results(item, found)
    return found


def _add_results(item: object, found: WarmStart) -> None:
    from metta.sweep.client.observations import load_observations
    from metta.sweep.client.results import Results

    if isinstance(item, Results):
        found.observations.extend(load_observations(item))
    else:
        found.problems.append(
            "warm_start has to be the name of a sweep, the path of a ledger, results, or a list of these and"
            f" of observations, got {shown(item)}"
        )
