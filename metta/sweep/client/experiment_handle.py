"""The handle of an experiment: watch it, pause it, stop it, wait for what it gives."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, Self

from temporalio.client import Client, WorkflowFailureError

from metta.sweep.client.loop import call
from metta.sweep.client.packing import Definition, packer_of, raised_again
from metta.sweep.client.retries import retried
from metta.sweep.client.runs import RPC_TIMEOUT, Run
from metta.sweep.client.settings import Settings
from metta.sweep.client.stages import Stages, stages_of
from metta.sweep.client.starts import Starts
from metta.sweep.contracts.budgets import Budget
from metta.sweep.contracts.errors import DefinitionError, StageFailed, SweepError, SweepFailed
from metta.sweep.contracts.experiments import (
    ExperimentControl,
    ExperimentResult,
    ExperimentStatus,
)
from metta.sweep.stores.base import OutcomeLog, Store

IN_A_LIST = timedelta(seconds=1)
"""So long one of many is waited for: without a worker none of them answers."""


class ExperimentHandle(Run[ExperimentResult]):
    """An experiment that was started, by whomever. Its methods block.

    Args:
        name: Its name.
        store: Where it is recorded.
        settings: Which server runs it.
        connect: Connects to that server, when there is something to ask.
        defined: Gives its pipeline, which tells how to read what it gives; None where that is not known.
    """

    what = "experiment"
    farewell = "its running stages may end"
    result_type = ExperimentResult

    def __init__(
        self,
        name: str,
        store: Store,
        settings: Settings,
        connect: Callable[[], Awaitable[Client]],
        defined: Callable[[], Definition | None] = lambda: None,
    ) -> None:
        super().__init__(name, store, settings, connect)
        self._defined = defined

    @property
    def experiment_id(self) -> str:
        """Name of the experiment."""
        return self.name

    @property
    def log(self) -> OutcomeLog:
        """What is recorded of it."""
        return self._store.outcome_log(self.name)  # one for each reader: it keeps its place

    def status(self) -> ExperimentStatus:
        """Where it stands: as its workflow tells it, or its outcome log where that does not answer.

        Raises:
            SweepNotFound: When neither knows it.
            ServerError: When the server does not answer.
        """
        return self.status_of(stages_of(self.log))

    def status_of(self, stages: Stages, as_recorded: bool = False) -> ExperimentStatus:
        """The same, for those who have read the log already.

        Args:
            stages: What it says.
            as_recorded: Whether the server is not asked, and what has not ended counts as running.
        """
        return call(self.standing(stages, is_running=stages.state is None if as_recorded else None))

    def set_budget(self, budget: Budget | int) -> ExperimentControl:
        """Change what all sweeps within it may spend together; limits that are not given stay.

        Raises:
            DefinitionError: When it is wrong, or more than that has been spent.
            SweepEnded: When the experiment is over.
        """
        limits = Budget.model_validate(budget)
        return call(self._update(ExperimentControl, "set_budget", limits.model_dump(exclude_unset=True)))

    def pause(self) -> ExperimentControl:
        """Let no other stage begin until ``resume``; those that run may end.

        Raises:
            SweepEnded: When the experiment is over.
        """
        return call(self._update(ExperimentControl, "pause"))

    def resume(self) -> ExperimentControl:
        """Go on after a pause.

        Raises:
            SweepEnded: When the experiment is over.
        """
        return call(self._update(ExperimentControl, "resume"))

    def stop(self) -> ExperimentControl:
        """End it as soon as the stages that run have ended; what is recorded stays.

        Raises:
            SweepEnded: When the experiment is over.
        """
        return call(self._update(ExperimentControl, "stop"))

    def retry(self, from_stage: str | None = None, *, budget: Budget | int | None = None) -> Self:
        """Let it go on when it is over, with its code of now; what is recorded is not run again.

        Everything else is as it was: input, fields, seed, and how its worker was started. The attempts of
        the stage that failed count anew.

        Args:
            from_stage: The stage from which on all is run again, whatever is recorded: its path, in loops
                with the turns, ``train[2,0]``, or without them, which is the last turn that was reached.
                Branches beside it are kept. None lets it go on where it has come to.
            budget: Limits of what runs within it that are changed; the others are as they were last.

        Returns:
            This handle: ``result()`` waits for the new end.

        Raises:
            DefinitionChanged: When it is another experiment by now.
            DefinitionError: When it runs, has completed, there is no such stage, or it was not reached.
            SweepNotFound: When nobody knows it.
            ServerError: When there is no server and none can be started.
        """
        if from_stage is not None and not from_stage.strip():
            problem = f"from_stage has to name a stage, got {from_stage!r}"
            raise DefinitionError([problem], f"the experiment {self.name}")
        retried(self, Starts(self._settings), from_stage or "", budget)
        return self

    def result(self) -> Any:
        """Wait for what the last stage gives.

        Raises:
            StageFailed: When a stage failed for good.
            DefinitionError: When it cannot run as it is defined.
            SweepFailed: When it was stopped or cancelled.
        """
        return self.value_of(call(self.finished()))

    def value_of(self, result: ExperimentResult) -> Any:
        """What the last stage gave.

        Raises:
            SweepFailed: When it was stopped before that.
        """
        if result.reason == "stopped":
            raise SweepFailed(
                f"{self.name} was stopped before its end; run it again with resume=True (`--resume`) to go on"
            )
        return packer_of(self._settings, self._defined()).unkept(result.value)

    async def note(self) -> str:
        """What its stages do; empty when it cannot tell."""
        status = await self._asked(ExperimentStatus)
        if status is None:
            return ""
        if status.state in ("paused", "stopping"):
            return status.state
        running = [row.stage for row in status.rows if row.status == "running"]
        more = f" and {len(running) - 3} more" if len(running) > 3 else ""
        return f"running {', '.join(running[:3])}{more}" if running else ""

    def is_recorded(self) -> bool:
        """Whether it has an outcome log."""
        return self.log.exists()

    def known(self) -> list[str]:
        """All experiments that are recorded."""
        return self._store.experiment_names()

    def _repr_html_(self) -> str:
        from metta.sweep.report.cards import experiment_card

        return experiment_card(self)

    async def standing(self, stages: Stages, is_running: bool | None = None) -> ExperimentStatus:
        """What ``status`` tells, by its log.

        Args:
            stages: What the log says.
            is_running: Whether it is listed as running; None without a list.
        """
        state = await self._state_of(stages.state, stages.began is not None, is_running)
        if state is None:
            raise self._unknown()
        patience = RPC_TIMEOUT if is_running is None else IN_A_LIST
        if state == "running" and (told := await self._asked(ExperimentStatus, patience)):
            return told
        status = stages.status(state)
        if state == "failed" and not stages.finished:  # it failed before it could record why
            return status.model_copy(update={"reason": await self._why_failed()})
        return status

    def _failed(self, error: WorkflowFailureError) -> SweepError:
        failed = super()._failed(error)
        if isinstance(failed, StageFailed):
            with suppress(SweepError):  # the class of its cause may be found in the worker alone
                return raised_again(failed.failure, packer_of(self._settings, self._defined()))
        return failed
