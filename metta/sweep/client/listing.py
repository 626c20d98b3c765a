"""Listing: how all sweeps and experiments of a project stand, by what is recorded and what runs."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from math import inf
from typing import Any, NamedTuple, TypeVar

from metta.sweep.client.experiment_handle import ExperimentHandle
from metta.sweep.client.handle import SweepHandle
from metta.sweep.client.runs import STATES, Run
from metta.sweep.client.server import EmbeddedServer
from metta.sweep.client.stages import stages_of
from metta.sweep.client.starts import Starts
from metta.sweep.client.underway import Underway, underway
from metta.sweep.contracts.errors import ServerError, StoreAway, StoreError, SweepNotFound
from metta.sweep.contracts.experiments import ExperimentStatus
from metta.sweep.contracts.sweeps import SweepStatus
from metta.sweep.stores.snapshots import brief_of

StatusT = TypeVar("StatusT")
HandleT = TypeVar("HandleT", bound=Run[Any])


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

    For all of them it is asked once what runs: a server is not to be asked a thousand times for a thousand
    sweeps. For those that are named it is asked one by one, which is exact.

    Args:
        starts: Of the project.
        names: What is looked at; none means all that does not run within others.

    Raises:
        SweepNotFound: When one of the names is unknown.
        StoreError: When the store cannot be read at all.
    """

    def is_meant(name: str) -> bool:
        return name in names if names else "/" not in name

    sweeps, experiments = starts.store.names(), starts.store.experiment_names()
    look = _Look(starts, None if names else await _running(starts))
    for name in names:
        if name not in sweeps and name not in experiments:
            await look.at_unrecorded(name, [*sweeps, *experiments])
    for name in filter(is_meant, sweeps):
        await look.at(name, look.at_sweep)
    for name in filter(is_meant, experiments):
        await look.at(name, look.at_experiment)
    return look.listing()


async def _running(starts: Starts) -> Underway:
    if starts.settings.is_embedded and not EmbeddedServer(starts.settings.home / "server").find():
        return Underway()  # none is started only to hear that nothing runs
    return await underway(starts, trials=False)


class _Look:
    """A look at how sweeps and experiments stand.

    Args:
        starts: Of the project.
        running: What runs; None asks for each of them.
    """

    def __init__(self, starts: Starts, running: Underway | None) -> None:
        self._starts, self._running = starts, running
        self._sweeps: dict[str, tuple[float, SweepStatus]] = {}
        self._experiments: dict[str, tuple[float, ExperimentStatus]] = {}
        self._damaged: list[StoreError] = []
        self._doubt = running.doubt if running else ""

    async def at(self, name: str, look: Callable[[str], Awaitable[None]]) -> None:
        """Look at one; when it cannot be read, the others can be shown all the same."""
        try:
            await look(name)
        except StoreAway:
            raise
        except StoreError as error:
            self._damaged.append(error)
        except SweepNotFound:  # somebody has just deleted it
            pass

    async def at_sweep(self, name: str) -> None:
        """Look at a sweep."""
        handle = self._handle(SweepHandle, name)
        brief = brief_of(handle.ledger)
        # one that is cancelled stops first, and records that
        is_stopped = brief.finish is not None and brief.finish.reason == "stopped"
        is_running = None if is_stopped else self._is_running(name)
        standing = partial(handle.standing, brief)
        self._sweeps[name] = brief.at or 0.0, await self._told(standing, is_running, brief.finish is not None)

    async def at_experiment(self, name: str) -> None:
        """Look at an experiment."""
        handle = self._handle(ExperimentHandle, name)
        stages = stages_of(handle.log)
        standing = partial(handle.standing, stages)
        has_ended = stages.finished is not None
        self._experiments[name] = stages.at, await self._told(standing, self._is_running(name), has_ended)

    async def at_unrecorded(self, name: str, known: Sequence[str]) -> None:
        """Look at something that has recorded nothing yet.

        Raises:
            SweepNotFound: When Temporal does not know it either.
        """
        handle = self._handle(SweepHandle, name)
        is_asked = handle.ui or not self._starts.settings.is_embedded
        found = await handle.described() if is_asked else None
        if found is None:
            raise SweepNotFound(name, known, "sweep or experiment")
        if found.workflow_type == "Experiment":
            self._experiments[name] = inf, ExperimentStatus(state=STATES[found.status])
        else:
            self._sweeps[name] = inf, SweepStatus(state=STATES[found.status])

    def listing(self) -> Listing:
        """What was seen."""
        return Listing(_newest(self._sweeps), _newest(self._experiments), self._damaged, self._doubt)

    async def _told(
        self,
        standing: Callable[[bool | None], Awaitable[StatusT]],
        is_running: bool | None,
        has_ended: bool,
    ) -> StatusT:
        """How something stands; by what is recorded alone, when nobody can tell whether it runs."""
        if not self._doubt:
            try:
                return await standing(is_running)
            except ServerError as error:
                self._doubt = str(error)
        return await standing(not has_ended)

    def _is_running(self, name: str) -> bool | None:
        return None if self._running is None else name in self._running.listed

    def _handle(self, kind: type[HandleT], name: str) -> HandleT:
        return kind(name, self._starts.store, self._starts.settings, self._starts.client)


def _newest(found: Mapping[str, tuple[float, StatusT]]) -> dict[str, StatusT]:
    """The newest first."""
    ordered = sorted(found.items(), key=lambda item: (item[1][0], item[0]), reverse=True)
    return {name: status for name, (_, status) in ordered}
