"""The handle of a sweep: watch it, change its budget, stop it, wait for it."""

import asyncio
from typing import Self

from metta.sweep.client.loop import call
from metta.sweep.client.results import Results, table_of
from metta.sweep.client.retries import retried_sweep
from metta.sweep.client.runs import Run
from metta.sweep.client.starts import Starts
from metta.sweep.contracts.budgets import Budget, Control, budget_from
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.sweeps import SweepResult, SweepState, SweepStatus
from metta.sweep.stores.base import Ledger
from metta.sweep.stores.snapshots import Brief, brief_of
from metta.sweep.stores.trials import TrialTable


class SweepHandle(Run[SweepResult]):
    """A sweep that was started, by whomever. Its methods block; ``result()`` can be awaited too."""

    what = "sweep"
    farewell = "its running trials end at their next report"
    more = " and a larger budget"
    result_type = SweepResult

    @property
    def sweep_id(self) -> str:
        """Name of the sweep."""
        return self.name

    @property
    def ledger(self) -> Ledger:
        """What is recorded of it."""
        return self._store.ledger(self.sweep_id)  # one for each reader: it keeps its place

    def status(self) -> SweepStatus:
        """Where the sweep stands: how far it is as the ledger tells it, whether it runs as Temporal does.

        Raises:
            SweepNotFound: When neither knows it.
            ServerError: When the server does not answer.
        """
        return call(self.standing(brief_of(self.ledger)))

    def status_of(self, table: TrialTable, as_recorded: bool = False) -> SweepStatus:
        """The same, for those who have folded the ledger already.

        Args:
            table: What it says.
            as_recorded: Whether the server is not asked, and what has not ended counts as running.
        """
        return call(self.standing(Brief.of(table), is_running=table.finish is None if as_recorded else None))

    def set_budget(self, budget: Budget | int) -> Control:
        """Change the limits that are given; the others stay, and None lifts one.

        Args:
            budget: Limits; a number is a number of trials.

        Returns:
            The control that is now in force.

        Raises:
            DefinitionError: When the budget is wrong.
            SweepEnded: When the sweep is over.
        """
        return call(self.change_budget(budget if isinstance(budget, Budget) else budget_from(budget)))

    def set_concurrency(self, trials: int | None) -> Control:
        """Change how many trials may run at the same time.

        Args:
            trials: The number, at most what scheduler and executor allow; None leaves it to them.

        Raises:
            DefinitionError: When it is not a whole number of at least 1.
            SweepEnded: When the sweep is over.
        """
        return call(self._update(Control, "set_concurrency", trials))

    def pause(self, now: bool = False) -> Control:
        """Start nothing new until ``resume``; paused time is not counted.

        Args:
            now: Whether running trials are interrupted at their next report, and later go on from their
                checkpoints; else they may end.

        Raises:
            SweepEnded: When the sweep is over.
        """
        return call(self._update(Control, "pause", "now" if now else "soon"))

    def resume(self) -> Control:
        """Go on after a pause.

        Raises:
            SweepEnded: When the sweep is over.
        """
        return call(self._update(Control, "resume"))

    def stop(self) -> Control:
        """Stop the running trials and end the sweep; what is recorded stays.

        Raises:
            SweepEnded: When the sweep is over.
        """
        return call(self._update(Control, "stop"))

    def retry(self, from_stage: str | None = None, *, budget: Budget | int | None = None) -> Self:
        """Let it go on when it has failed, or was cancelled or stopped, with its code of now.

        Its definition and budget are as they were, and so is how its worker was started; all that is recorded
        stays.

        Args:
            from_stage: Only experiments have stages.
            budget: Limits that are changed; with a larger one a sweep goes on that has come to its end.

        Returns:
            This handle: ``result()`` gives the new results.

        Raises:
            DefinitionError: When it runs, or has come to its end.
            SweepNotFound: When nobody knows it.
            ServerError: When there is no server and none can be started.
        """
        if from_stage is not None:
            raise DefinitionError([f"a sweep has no stages, got {from_stage!r}"], f"the sweep {self.name}")
        retried_sweep(self, Starts(self._settings), budget)
        return self

    def result(self) -> Results:
        """The results, which may still be pending: reading them waits for the end of the sweep."""
        return Results(self.sweep_id, self._ended)

    async def change_budget(self, budget: Budget) -> Control:
        """What ``set_budget`` does."""
        return await self._update(Control, "set_budget", budget.model_dump(exclude_unset=True))

    async def note(self) -> str:
        """What the sweep waits for, such as a free slot; empty when it works, or cannot tell."""
        status = await self._asked(SweepStatus)
        return status.notice or status.progress.note if status else ""

    def is_recorded(self) -> bool:
        """Whether it has a ledger."""
        return self.ledger.exists()

    def known(self) -> list[str]:
        """All sweeps that are recorded."""
        return self._store.names()

    def _repr_html_(self) -> str:
        from metta.sweep.report.cards import sweep_card

        return sweep_card(self)

    async def _ended(self) -> TrialTable:
        await self.finished()
        return await asyncio.to_thread(table_of, self.ledger)

    async def standing(self, brief: Brief, is_running: bool | None = None) -> SweepStatus:
        """What ``status`` tells, by its ledger in brief.

        Args:
            brief: What the ledger says.
            is_running: Whether it is listed as running; None when there is no list.
        """
        recorded: SweepState | None = None
        if brief.finish:
            recorded = "failed" if brief.finish.reason == "failed" else "finished"
        state = await self._state_of(recorded, brief.has_begun, is_running)
        if state is None:
            raise self._unknown()
        notice = brief.finish.message if brief.finish else ""
        if state == "failed" and not notice:  # it failed before it could record why
            notice = await self._why_failed()
        return SweepStatus(
            state=brief.control.state if state == "running" else state,
            progress=brief.progress,
            control=brief.control,
            reason=brief.finish.reason if brief.finish else "",
            notice=notice,
        )
