"""Listing: how all sweeps and experiments of a project stand, by what is recorded and what runs."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from metta.sweep.client.handle import SweepHandle
from metta.sweep.client.runs import STATES
from metta.sweep.client.server import EmbeddedServer
from metta.sweep.client.sights import ExperimentSight, Sight, StatusT, SweepSight
from metta.sweep.client.starts import Starts
from metta.sweep.client.underway import Listed, Underway, failed, underway
from metta.sweep.contracts.errors import ServerError, StoreAway, StoreError, SweepNotFound
from metta.sweep.contracts.experiments import ExperimentStatus
from metta.sweep.contracts.sweeps import SweepStatus


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


class Lookout:
    """Looks at what a project has, as often as is wanted.

    For all of it it is asked once what runs: a server is not to be asked a thousand times for a thousand
    sweeps. For those that are named it is asked one by one, which is exact.

    Args:
        starts: Of the project.
        names: What is looked at; none means all that does not run within others.
    """

    def __init__(self, starts: Starts, names: Collection[str] = ()) -> None:
        self._starts, self._names = starts, names
        self._sweeps: dict[str, Sight[SweepStatus]] = {}
        self._experiments: dict[str, Sight[ExperimentStatus]] = {}

    async def look(self) -> Listing:
        """List it as it stands now.

        Raises:
            SweepNotFound: When one of the names is unknown.
            StoreError: When the store cannot be read at all.
        """
        store = self._starts.store
        sweeps, experiments = store.names(), store.experiment_names()
        unrecorded = [name for name in self._names if name not in sweeps and name not in experiments]
        begun = {name: await self._begun(name, [*sweeps, *experiments]) for name in unrecorded}
        self._follow(self._sweeps, sweeps, SweepSight)
        self._follow(self._experiments, experiments, ExperimentSight)
        running = None
        if not self._names:
            running, over = await _running(self._starts)
            begun = self._unrecorded({**over, **running.listed}, {*sweeps, *experiments})
        look = _Look(running)
        return Listing(
            {name: it for name, it in begun.items() if isinstance(it, SweepStatus)}
            | await look.statuses(self._sweeps),
            {name: it for name, it in begun.items() if isinstance(it, ExperimentStatus)}
            | await look.statuses(self._experiments),
            look.damaged,
            look.doubt,
        )

    def _follow(
        self,
        sights: dict[str, Sight[StatusT]],
        names: list[str],
        sight: Callable[[str, Starts], Sight[StatusT]],
    ) -> None:
        """Look at those of these names that are meant, and at nothing that is gone."""
        meant = [name for name in names if (name in self._names if self._names else "/" not in name)]
        for gone in sights.keys() - set(meant):
            del sights[gone]
        for name in meant:
            if name not in sights:
                sights[name] = sight(name, self._starts)

    def _unrecorded(
        self, known: Mapping[str, Listed], recorded: Collection[str]
    ) -> dict[str, SweepStatus | ExperimentStatus]:
        """What runs, waits for a worker, or was refused by one, and has recorded nothing.

        Of a server that is others', too, only what was launched here, or waits in the queue of the settings.
        """
        starts = self._starts
        return {
            name: _kind_of(found.kind)(state=found.state)
            for name, found in known.items()
            if "/" not in name and name not in recorded
            if starts.settings.is_embedded
            or found.queue == starts.settings.queue
            or starts.launches.find(name)
        }

    async def _begun(self, name: str, known: Sequence[str]) -> SweepStatus | ExperimentStatus:
        """How something stands that has recorded nothing yet."""
        starts = self._starts
        handle = SweepHandle(name, starts.store, starts.settings, starts.client)
        is_asked = handle.ui or not starts.settings.is_embedded
        found = await handle.described() if is_asked else None
        if found is None:
            raise SweepNotFound(name, known, "sweep or experiment")
        return _kind_of(found.workflow_type)(state=STATES[found.status])


def _kind_of(workflow: str) -> type[SweepStatus | ExperimentStatus]:
    return ExperimentStatus if workflow == "Experiment" else SweepStatus


async def _running(starts: Starts) -> tuple[Underway, Mapping[str, Listed]]:
    """What runs, and what has failed of late."""
    if starts.settings.is_embedded and not EmbeddedServer(starts.settings.home / "server").find():
        return Underway(doubt=starts.held_up), {}  # none is started only to hear that nothing runs
    running = await underway(starts, trials=False)
    if running.doubt:
        return running, {}
    try:
        return running, await failed(starts)
    except ServerError as error:
        return running._replace(doubt=str(error)), {}


class _Look:
    """One look.

    Args:
        running: What runs; None asks for each of them.

    Attributes:
        damaged: What cannot be read.
        doubt: Why nobody can tell what runs; empty as long as that is known.
    """

    def __init__(self, running: Underway | None) -> None:
        self.damaged: list[StoreError] = []
        self.doubt = running.doubt if running else ""
        self._running = running

    async def statuses(self, sights: dict[str, Sight[StatusT]]) -> dict[str, StatusT]:
        """How some stand, the newest first; when one cannot be read, the others can be shown all the same."""
        found: dict[str, StatusT] = {}
        for name, sight in [*sights.items()]:
            try:
                sight.read()
                found[name] = await self._told(name, sight)
            except StoreAway:
                raise
            except StoreError as error:
                self.damaged.append(error)
                del sights[name]  # which may be another one when it can be read again
            except SweepNotFound:  # somebody has just deleted it
                pass
        return dict(
            sorted(found.items(), key=lambda item: (sights[item[0]].recorded_at, item[0]), reverse=True)
        )

    async def _told(self, name: str, sight: Sight[StatusT]) -> StatusT:
        """How something stands; by what is recorded alone, when nobody can tell whether it runs."""
        if not self.doubt:
            try:
                return await sight.status(None if self._running is None else name in self._running.listed)
            except ServerError as error:
                self.doubt = str(error)
        return await sight.standing(not sight.has_ended)
