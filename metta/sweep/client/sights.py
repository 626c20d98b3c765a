"""Sights: what is seen of a sweep or an experiment by those who look again and again."""

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from metta.sweep.client.experiment_handle import ExperimentHandle
from metta.sweep.client.handle import SweepHandle
from metta.sweep.client.stages import Stages
from metta.sweep.client.starts import Starts
from metta.sweep.contracts.experiments import ExperimentStatus
from metta.sweep.contracts.sweeps import ENDED, SweepStatus
from metta.sweep.stores.snapshots import Briefing

StatusT = TypeVar("StatusT", bound=SweepStatus | ExperimentStatus)


class Sight(ABC, Generic[StatusT]):
    """One of those that are looked at; only what has changed since the last look is read, or asked for.

    Attributes:
        recorded_at: When something was recorded last, in seconds since 1970.
        has_ended: Whether it is recorded how it ended.
        may_run_on: Whether it may run although that is recorded.
    """

    recorded_at = 0.0
    has_ended = False
    may_run_on = False

    _told: tuple[float, StatusT] | None = None

    @abstractmethod
    def read(self) -> None:
        """Read what was recorded meanwhile.

        Raises:
            StoreError: When it cannot be read.
        """

    @abstractmethod
    async def standing(self, is_running: bool | None) -> StatusT:
        """How it stands by what was read.

        Args:
            is_running: Whether it runs; None asks Temporal.

        Raises:
            SweepNotFound: When nobody knows it.
            ServerError: When the server does not answer.
        """

    async def status(self, is_listed: bool | None) -> StatusT:
        """The same, asking no more than it must.

        Args:
            is_listed: Whether a list names it among those that run; None when there is no list.
        """
        if is_listed is False and self._told and self._told[0] == self.recorded_at:
            return self._told[1]  # it was over, and nothing has happened since
        status = await self.standing(None if self.may_run_on else is_listed)
        # why it failed may be known when it is asked for again
        is_known = self.has_ended or status.state == "cancelled"
        self._told = (self.recorded_at, status) if is_known and status.state in ENDED else None
        return status


class SweepSight(Sight[SweepStatus]):
    """A sweep that is looked at."""

    def __init__(self, name: str, starts: Starts) -> None:
        self._handle = SweepHandle(name, starts.store, starts.settings, starts.client)
        self._briefing = Briefing(self._handle.ledger)

    def read(self) -> None:
        """See ``Sight.read``."""
        brief = self._brief = self._briefing.brief()
        self.recorded_at = brief.at or 0.0
        self.has_ended = brief.finish is not None
        # one that is cancelled stops first, and records that
        self.may_run_on = brief.finish is not None and brief.finish.reason == "stopped"

    async def standing(self, is_running: bool | None) -> SweepStatus:
        """See ``Sight.standing``."""
        return await self._handle.standing(self._brief, is_running)


class ExperimentSight(Sight[ExperimentStatus]):
    """An experiment that is looked at."""

    def __init__(self, name: str, starts: Starts) -> None:
        self._handle = ExperimentHandle(name, starts.store, starts.settings, starts.client)
        self._log = self._handle.log
        self._mark: str | None = None

    def read(self) -> None:
        """See ``Sight.read``."""
        if self._mark is not None and not self._log.has_more():
            return
        if self._mark != self._log.mark():  # nothing is known, or another one has taken its place
            self._stages = Stages(self._log)
        self._mark = None  # if reading fails, all is read anew
        self._stages.update()
        self._mark = self._log.mark()
        self.recorded_at = self._stages.at
        self.has_ended = self._stages.finished is not None

    async def standing(self, is_running: bool | None) -> ExperimentStatus:
        """See ``Sight.standing``."""
        return await self._handle.standing(self._stages, is_running)
