"""The handle of a sweep: watch it, change its budget, stop it, wait for it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from temporalio.client import (
    Client,
    RPCTimeoutOrCancelledError,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
    WorkflowUpdateFailedError,
)
from temporalio.exceptions import ApplicationError, CancelledError, TerminatedError
from temporalio.service import RPCError, RPCStatusCode

from metta.sweep.client.keeper import Keeper
from metta.sweep.client.launches import Launches
from metta.sweep.client.loop import call
from metta.sweep.client.results import Results, table_of
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.attempts import Code
from metta.sweep.contracts.budgets import Budget, Control, budget_from
from metta.sweep.contracts.errors import (
    DefinitionError,
    ServerError,
    SweepEnded,
    SweepFailed,
    SweepNotFound,
)
from metta.sweep.contracts.sweeps import SweepResult, SweepState, SweepStatus
from metta.sweep.stores.base import Ledger
from metta.sweep.stores.files import FileStore
from metta.sweep.stores.trials import TrialTable

RPC_TIMEOUT = timedelta(seconds=10)

UPDATE_TIMEOUT = timedelta(seconds=30)
"""An update is answered by the worker, which may just be starting."""

LOOK_S = 2.0
"""While a result is waited for, it is looked this often whether the worker lives."""

REFUSALS = (
    RPCStatusCode.INVALID_ARGUMENT,
    RPCStatusCode.PERMISSION_DENIED,
    RPCStatusCode.UNAUTHENTICATED,
    RPCStatusCode.UNIMPLEMENTED,
)
"""What a server answers that would answer the same for ever."""

STATES: dict[WorkflowExecutionStatus | None, SweepState] = {
    WorkflowExecutionStatus.RUNNING: "running",
    WorkflowExecutionStatus.CONTINUED_AS_NEW: "running",
    WorkflowExecutionStatus.COMPLETED: "finished",
    WorkflowExecutionStatus.FAILED: "failed",
    WorkflowExecutionStatus.TIMED_OUT: "failed",
    WorkflowExecutionStatus.CANCELED: "cancelled",
    WorkflowExecutionStatus.TERMINATED: "cancelled",
}


class SweepHandle:
    """A sweep that was started, by whomever. Its methods block; ``result()`` can be awaited too.

    Args:
        sweep_id: Name of the sweep.
        store: Where its ledger lies.
        settings: Which server runs it.
        connect: Connects to that server, when there is something to ask.
    """

    def __init__(
        self,
        sweep_id: str,
        store: FileStore,
        settings: Settings,
        connect: Callable[[], Awaitable[Client]],
    ) -> None:
        self.sweep_id = sweep_id
        self.notes: Sequence[str] = ()
        self._store = store
        self._settings = settings
        self._keeper = Keeper(settings)
        self._connect = connect

    @property
    def ui(self) -> str:
        """Address of the sweep's page in the Temporal UI; empty where it is not known."""
        return self._keeper.page(self.sweep_id)

    @property
    def code(self) -> Code | None:
        """How the program that started it was started; None where that is not known."""
        launch = Launches(self._settings.store).find(self.sweep_id)
        return launch.code if launch else None

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
        return self.status_of(table_of(self.ledger))

    def status_of(self, table: TrialTable) -> SweepStatus:
        """The same, for those who have folded the ledger already."""
        return call(self._status(table))

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
        return call(self._update("set_concurrency", trials))

    def pause(self, now: bool = False) -> Control:
        """Start nothing new until ``resume``; paused time is not counted.

        Args:
            now: Whether running trials are interrupted at their next report, and later go on from their
                checkpoints; else they may end.

        Raises:
            SweepEnded: When the sweep is over.
        """
        return call(self._update("pause", "now" if now else "soon"))

    def resume(self) -> Control:
        """Go on after a pause.

        Raises:
            SweepEnded: When the sweep is over.
        """
        return call(self._update("resume"))

    def stop(self) -> Control:
        """Stop the running trials and end the sweep; what is recorded stays.

        Raises:
            SweepEnded: When the sweep is over.
        """
        return call(self._update("stop"))

    def result(self) -> Results:
        """The results, which may still be pending: reading them waits for the end of the sweep."""
        return Results(self.sweep_id, self._ended)

    async def change_budget(self, budget: Budget) -> Control:
        """What ``set_budget`` does."""
        return await self._update("set_budget", budget.model_dump(exclude_unset=True))

    async def finished(self) -> SweepResult:
        """Wait for the end of the sweep, and keep its server and worker alive meanwhile.

        Raises:
            SweepFailed: With the message that the sweep ended with.
        """
        workflow = await self._workflow()
        while True:
            try:
                async with asyncio.timeout(LOOK_S):  # the server answers a long poll only when it is over
                    return await workflow.result(rpc_timeout=RPC_TIMEOUT)
            except TimeoutError:
                pass
            except WorkflowFailureError as error:
                raise SweepFailed(_reason(self.sweep_id, error)) from None
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND:
                    raise self._unknown() from None
                if error.status in REFUSALS:
                    raise _silent(error) from error
            await self._keeper.check(self.sweep_id)  # it takes long, or the server is away

    async def note(self) -> str:
        """What the sweep waits for, such as a free slot; empty when it works, or cannot tell."""
        try:
            workflow = await self._workflow()
            status: SweepStatus = await workflow.query(
                "status", result_type=SweepStatus, rpc_timeout=RPC_TIMEOUT
            )
        except (RPCError, ServerError, WorkflowQueryFailedError, WorkflowQueryRejectedError):
            return ""
        return status.notice or status.progress.note

    def __repr__(self) -> str:
        return f"SweepHandle({self.sweep_id!r})"

    async def _ended(self) -> TrialTable:
        await self.finished()
        return await asyncio.to_thread(table_of, self.ledger)

    async def _workflow(self) -> WorkflowHandle[object, SweepResult]:
        client = await self._connect()
        return client.get_workflow_handle(self.sweep_id, result_type=SweepResult)

    async def _status(self, table: TrialTable) -> SweepStatus:
        state = await self._state(table)
        if state is None:
            raise self._unknown()
        notice = table.finish.message if table.finish else ""
        if state == "failed" and not notice:  # it failed before it could record why
            notice = await self._why_failed()
        return SweepStatus(
            state=table.control.state if state == "running" else state,
            progress=table.progress(),
            control=table.control,
            reason=table.finish.reason if table.finish else "",
            notice=notice,
        )

    async def _state(self, table: TrialTable) -> SweepState | None:
        recorded: SweepState | None = None
        if table.finish:
            recorded = "failed" if table.finish.reason == "failed" else "finished"
        if self._settings.is_embedded and not self.ui and (recorded or table.spec is None):
            return recorded  # what runs has a server: none is started only to hear that nothing does
        try:
            description = await (await self._workflow()).describe(rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise _silent(error) from error
            # Temporal forgets a sweep after its retention, the ledger does not
            return recorded or ("cancelled" if table.spec else None)
        return STATES[description.status]

    async def _why_failed(self) -> str:
        try:
            await (await self._workflow()).result(rpc_timeout=RPC_TIMEOUT)
        except WorkflowFailureError as error:
            return _reason(self.sweep_id, error)
        except RPCError:
            pass
        return ""

    async def _update(self, name: str, *args: object) -> Control:
        try:
            workflow = await self._workflow()
            control: Control = await workflow.execute_update(
                name, args=args, result_type=Control, rpc_timeout=UPDATE_TIMEOUT
            )
        except WorkflowUpdateFailedError as error:
            raise DefinitionError([str(error.cause)], name) from None
        except RPCTimeoutOrCancelledError as error:
            raise ServerError(
                f"no worker of {self.sweep_id} answers yet; `sweep attach {self.sweep_id}` brings one,"
                " which may still do what was asked"
            ) from error
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                raise self._gone() from None
            raise _silent(error) from error
        return control

    def _unknown(self) -> SweepNotFound:
        return SweepNotFound(self.sweep_id, self._store.names())

    def _gone(self) -> SweepEnded | SweepNotFound:
        if not self.ledger.exists():
            return self._unknown()
        return SweepEnded(
            f"{self.sweep_id} is over; run it again with resume=True (`--resume`) and a larger budget"
        )


def _silent(error: RPCError) -> ServerError:
    return ServerError(f"the Temporal server does not answer as it should: {error}")


def _reason(sweep_id: str, error: WorkflowFailureError) -> str:
    """The reason in the words it was raised with, below the engine's wrappers."""
    cause: BaseException | None = error.cause
    while cause and cause.__cause__ and not isinstance(cause, ApplicationError):
        cause = cause.__cause__
    if isinstance(cause, CancelledError | TerminatedError):
        return f"{sweep_id} was cancelled; run it again with resume=True (`--resume`) to go on"
    return cause.message if isinstance(cause, ApplicationError) else str(cause or error)
