"""The handle of a sweep: watch it, change its budget, stop it, wait for it."""

from datetime import timedelta

from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowUpdateFailedError,
)
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.service import RPCError, RPCStatusCode

from metta.sweep.client.keeper import Keeper
from metta.sweep.client.loop import call
from metta.sweep.client.results import Results, table_of
from metta.sweep.contracts.budgets import Budget, Control, budget_from
from metta.sweep.contracts.errors import (
    DefinitionError,
    ServerError,
    SweepEnded,
    SweepFailed,
    SweepNotFound,
)
from metta.sweep.contracts.sweeps import SweepResult, SweepState, SweepStatus
from metta.sweep.stores.files import FileStore

RPC_TIMEOUT = timedelta(seconds=10)

POLL = timedelta(seconds=5)
"""While a result is waited for, it is looked this often whether the worker lives."""

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
        client: The connection to Temporal.
        keeper: Keeps the sweep's server and worker alive.
    """

    def __init__(self, sweep_id: str, store: FileStore, client: Client, keeper: Keeper) -> None:
        self.sweep_id = sweep_id
        self._keeper = keeper
        self.ledger = store.ledger(sweep_id)
        self._known = store.names
        self._handle = client.get_workflow_handle(sweep_id, result_type=SweepResult)

    @property
    def ui(self) -> str:
        """Address of the sweep's page in the Temporal UI; empty where it is not known."""
        return self._keeper.page(self.sweep_id)

    def status(self) -> SweepStatus:
        """Where the sweep stands: how far it is as the ledger tells it, whether it runs as Temporal does.

        Raises:
            SweepNotFound: When neither knows it.
            ServerError: When the server does not answer.
        """
        state = call(self._state())
        if not self.ledger.exists():
            if state is None:
                raise SweepNotFound(self.sweep_id, self._known())
            return SweepStatus(state=state)
        table = table_of(self.ledger)
        stopping = state == "running" and table.control.stop
        return SweepStatus(
            # Temporal forgets a sweep after its retention, the ledger does not
            state="stopping" if stopping else state or ("finished" if table.finish else "cancelled"),
            progress=table.progress(),
            control=table.control,
            reason=table.finish.reason if table.finish else "",
        )

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
        return call(self.change_budget(budget_from(budget) if isinstance(budget, int) else budget))

    def stop(self) -> Control:
        """Stop the running trials and end the sweep; what is recorded stays.

        Raises:
            SweepEnded: When the sweep is over.
        """
        return call(self._update("stop"))

    def result(self) -> Results:
        """The results, which may still be pending: reading them waits for the end of the sweep."""
        return Results(self.sweep_id, self.ledger, wait=lambda: call(self.finished()), waiting=self.finished)

    async def change_budget(self, budget: Budget) -> Control:
        """What ``set_budget`` does."""
        return await self._update("set_budget", budget.model_dump(exclude_unset=True))

    async def finished(self) -> SweepResult:
        """Wait for the end of the sweep, and keep its server and worker alive meanwhile.

        Raises:
            SweepFailed: With the message that the sweep ended with.
        """
        while True:
            try:
                result: SweepResult = await self._handle.result(rpc_timeout=POLL)
                return result
            except WorkflowFailureError as error:
                raise _failure(self.sweep_id, error) from None
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND:
                    raise SweepNotFound(self.sweep_id, self._known()) from None
                await self._keeper.check(self.sweep_id)  # the poll timed out, or the server is away

    async def _state(self) -> SweepState | None:
        try:
            description = await self._handle.describe(rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise ServerError(f"the Temporal server does not answer: {error}") from error
        return STATES[description.status]

    async def _update(self, name: str, *args: object) -> Control:
        try:
            control: Control = await self._handle.execute_update(
                name, args=args, result_type=Control, rpc_timeout=RPC_TIMEOUT
            )
        except WorkflowUpdateFailedError as error:
            raise DefinitionError([str(error.cause)], name) from None
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                raise self._gone() from None
            raise ServerError(f"the Temporal server does not answer: {error}") from error
        return control

    def _gone(self) -> SweepEnded | SweepNotFound:
        if not self.ledger.exists():
            return SweepNotFound(self.sweep_id, self._known())
        return SweepEnded(
            f"{self.sweep_id} is over; run it again with resume=True (`--resume`) and a larger budget"
        )


def _failure(sweep_id: str, error: WorkflowFailureError) -> SweepFailed:
    """The reason in the words it was raised with, below the engine's wrappers."""
    cause: BaseException | None = error.cause
    while cause and cause.__cause__ and not isinstance(cause, ApplicationError):
        cause = cause.__cause__
    if isinstance(cause, CancelledError):
        return SweepFailed(f"{sweep_id} was cancelled")
    return SweepFailed(cause.message if isinstance(cause, ApplicationError) else str(cause or error))
