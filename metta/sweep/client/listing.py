"""Listing: how all sweeps and experiments of a project stand, by what is recorded and what runs."""

from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import NamedTuple, TypeVar

from metta.sweep.client.experiment_handle import ExperimentHandle
from metta.sweep.client.handle import SweepHandle
from metta.sweep.client.stages import stages_of
from metta.sweep.client.starts import Starts
from metta.sweep.client.underway import underway
from metta.sweep.contracts.errors import StoreError, SweepNotFound
from metta.sweep.contracts.experiments import ExperimentStatus
from metta.sweep.contracts.sweeps import SweepStatus
from metta.sweep.stores.snapshots import brief_of

StatusT = TypeVar("StatusT")


class Listing(NamedTuple):
    """How sweeps and experiments stand.

    Args:
        sweeps: By name, the one first in which something was recorded last.
        experiments: The same.
        damaged: What cannot be read.
        doubt: Why nobody can tell what runs; empty when it is known.
    """

    sweeps: dict[str, SweepStatus]
    experiments: dict[str, ExperimentStatus]
    damaged: list[StoreError]
    doubt: str

    @property
    def names(self) -> list[str]:
        """All of them."""
        return [*self.sweeps, *self.experiments]

    @property
    def statuses(self) -> list[SweepStatus | ExperimentStatus]:
        """All of them."""
        return [*self.sweeps.values(), *self.experiments.values()]


async def listed(starts: Starts, names: Collection[str] = ()) -> Listing:
    """List what a project has.

    What runs is asked for once: a server is not to be asked a thousand times for a thousand sweeps.

    Args:
        starts: Of the project.
        names: What is looked at; none means all that does not run within others.

    Raises:
        SweepNotFound: When one of the names is unknown.
        StoreError: When the store cannot be read at all.
    """
    store, running = starts.store, await underway(starts, trials=False)
    damaged: list[StoreError] = []

    def is_running(name: str, has_ended: bool) -> bool:
        return not has_ended if running.doubt else name in running.names

    async def sweep(name: str) -> tuple[float, SweepStatus]:
        handle = SweepHandle(name, store, starts.settings, starts.client)
        brief = brief_of(handle.ledger)
        return brief.at or 0.0, await handle.standing(brief, is_running(name, brief.finish is not None))

    async def experiment(name: str) -> tuple[float, ExperimentStatus]:
        handle = ExperimentHandle(name, store, starts.settings, starts.client)
        stages = stages_of(handle.log)
        return stages.at, await handle.standing(stages, is_running(name, stages.finished is not None))

    sweeps, experiments = store.names(), store.experiment_names()
    for name in names:
        if name not in sweeps and name not in experiments:
            raise SweepNotFound(name, [*sweeps, *experiments], "sweep or experiment")

    def is_meant(name: str) -> bool:
        return name in names if names else "/" not in name

    return Listing(
        await _statuses(filter(is_meant, sweeps), sweep, damaged),
        await _statuses(filter(is_meant, experiments), experiment, damaged),
        damaged,
        running.doubt,
    )


async def _statuses(
    names: Iterable[str],
    status_of: Callable[[str], Awaitable[tuple[float, StatusT]]],
    damaged: list[StoreError],
) -> dict[str, StatusT]:
    """How each stands, the newest first; those that cannot be read are put aside."""
    found: list[tuple[float, str, StatusT]] = []
    for name in names:
        try:
            at, status = await status_of(name)
            found.append((at, name, status))
        except StoreError as error:  # the others can be shown all the same
            damaged.append(error)
    return {name: status for _, name, status in sorted(found, key=lambda item: item[:2], reverse=True)}
