"""Runs: workflows that somebody started; they can be waited for, asked, and changed."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import cached_property
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel
from temporalio.client import (
    Client,
    RPCTimeoutOrCancelledError,
    WorkflowExecutionDescription,
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
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.attempts import Code
from metta.sweep.contracts.errors import (
    DefinitionError,
    ServerError,
    SweepEnded,
    SweepError,
    SweepFailed,
    SweepNotFound,
)
from metta.sweep.contracts.raised import error_of
from metta.sweep.contracts.sweeps import SweepState
from metta.sweep.stores.base import Store

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

LATE = (RPCStatusCode.CANCELLED, RPCStatusCode.DEADLINE_EXCEEDED)

STATES: dict[WorkflowExecutionStatus | None, SweepState] = {
    WorkflowExecutionStatus.RUNNING: "running",
    WorkflowExecutionStatus.CONTINUED_AS_NEW: "running",
    WorkflowExecutionStatus.COMPLETED: "finished",
    WorkflowExecutionStatus.FAILED: "failed",
    WorkflowExecutionStatus.TIMED_OUT: "failed",
    WorkflowExecutionStatus.CANCELED: "cancelled",
    WorkflowExecutionStatus.TERMINATED: "cancelled",
}

ResultT = TypeVar("ResultT", bound=BaseModel)
AnswerT = TypeVar("AnswerT", bound=BaseModel)


class Run(ABC, Generic[ResultT]):
    """A workflow that was started, by whomever.

    Args:
        name: Its name.
        store: Where it is recorded.
        settings: Which server runs it.
        connect: Connects to that server, when there is something to ask.
    """

    what: ClassVar[str]
    """What it is called in messages."""

    farewell: ClassVar[str]
    """What is left to do when it is stopped."""

    more: ClassVar[str] = ""
    """What else it needs to go on once it is over."""

    result_type: ClassVar[type[BaseModel]]

    def __init__(
        self,
        name: str,
        store: Store,
        settings: Settings,
        connect: Callable[[], Awaitable[Client]],
    ) -> None:
        self.name = name
        self.notes: Sequence[str] = ()
        self._store = store
        self._settings = settings
        self._connect = connect

    @cached_property
    def _keeper(self) -> Keeper:
        return Keeper(self._settings)

    @property
    def ui(self) -> str:
        """Address of its page in the Temporal UI; empty where that is not known."""
        return self._keeper.page(self.name)

    @property
    def code(self) -> Code | None:
        """How the program that started it was started; None where that is not known."""
        launch = Launches(self._settings.home).find(self.name)
        return launch.code if launch else None

    async def finished(self) -> ResultT:
        """Wait for its end, and keep its server and worker alive meanwhile.

        Raises:
            SweepError: With the message that it ended with.
        """
        workflow = await self._workflow()
        while True:
            try:
                async with asyncio.timeout(LOOK_S):  # the server answers a long poll only when it is over
                    return await workflow.result(rpc_timeout=RPC_TIMEOUT)
            except TimeoutError:
                pass
            except WorkflowFailureError as error:
                failed = self._failed(error)
                raise failed from failed.__cause__
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND:
                    raise self._unknown() from None
                if error.status in REFUSALS:
                    raise silent(error) from error
            await self._keeper.check(self.name)  # it takes long, or the server is away

    @abstractmethod
    async def note(self) -> str:
        """What it waits for, such as a free slot; empty when it works, or cannot tell."""

    @abstractmethod
    def stop(self) -> BaseModel:
        """End it; what is recorded stays.

        Raises:
            SweepEnded: When it is over.
        """

    @abstractmethod
    def is_recorded(self) -> bool:
        """Whether anything of it is recorded."""

    @abstractmethod
    def known(self) -> list[str]:
        """All of its kind that are recorded."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    async def _workflow(self) -> WorkflowHandle[object, ResultT]:
        client = await self._connect()
        kind: Any = self.result_type
        return client.get_workflow_handle(self.name, result_type=kind)

    async def described(self) -> WorkflowExecutionDescription | None:
        """What Temporal knows of it; None when that is nothing.

        Raises:
            ServerError: When the server does not answer.
        """
        try:
            return await (await self._workflow()).describe(rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise silent(error) from error
            return None

    async def _state_of(
        self, recorded: SweepState | None, has_begun: bool, is_running: bool | None
    ) -> SweepState | None:
        """What it does, as Temporal tells it; None when nobody knows it.

        Args:
            recorded: How its record says that it has ended; None when it has not.
            has_begun: Whether anything of it is recorded.
            is_running: Whether a list says that it runs, which may be a moment old; None when there is none.
        """
        if is_running is (recorded is None):  # both say the same
            return recorded or "running"
        if self._settings.is_embedded and not self.ui and (recorded or not has_begun):
            return recorded  # what runs has a server: none is started only to hear that nothing does
        if description := await self.described():
            return STATES[description.status]
        # Temporal forgets it after its retention, the record does not
        return recorded or ("cancelled" if has_begun else None)

    async def _asked(self, kind: type[AnswerT], patience: timedelta = RPC_TIMEOUT) -> AnswerT | None:
        """Its own answer to the query ``status``; None when it gives none in time."""
        try:
            workflow = await self._workflow()
            answer: AnswerT = await workflow.query("status", result_type=kind, rpc_timeout=patience)
            return answer
        except (RPCError, ServerError, WorkflowQueryFailedError, WorkflowQueryRejectedError):
            return None

    async def _why_failed(self) -> str:
        try:
            await (await self._workflow()).result(rpc_timeout=RPC_TIMEOUT)
        except WorkflowFailureError as error:
            return str(self._failed(error))
        except RPCError:
            pass
        return ""

    async def _update(self, kind: type[AnswerT], name: str, *args: object) -> AnswerT:
        try:
            workflow = await self._workflow()
            # in all: the server answers each call sooner, if only that no worker has taken the update yet
            async with asyncio.timeout(UPDATE_TIMEOUT.total_seconds()):
                answer: AnswerT = await workflow.execute_update(
                    name, args=args, result_type=kind, rpc_timeout=UPDATE_TIMEOUT
                )
            return answer
        except WorkflowUpdateFailedError as error:
            cause = error.cause
            problem = cause.message if isinstance(cause, ApplicationError) else str(cause)
            raise DefinitionError([problem.removeprefix(f"{self.name}: ")], self.name) from None
        except (TimeoutError, RPCTimeoutOrCancelledError) as error:
            way = f"`sweep attach {self.name}` brings one, which may"
            if self.code is None:  # it was not started here, or is left to a shared queue
                way = "one that serves its queue may"
            raise ServerError(
                f"no worker of {self.name} answers yet; {way} still do what was asked"
            ) from error
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                raise await self._gone() from None
            raise silent(error) from error

    def _failed(self, error: WorkflowFailureError) -> SweepError:
        cause = cause_of(error)
        told = error_of(cause.type, cause.details) if isinstance(cause, ApplicationError) else None
        return told or SweepFailed(self._reason(error))

    def _reason(self, error: WorkflowFailureError) -> str:
        """The reason in the words it was raised with, below the engine's wrappers."""
        cause = cause_of(error)
        if isinstance(cause, CancelledError | TerminatedError):
            return f"{self.name} was cancelled; run it again with resume=True (`--resume`) to go on"
        return cause.message if isinstance(cause, ApplicationError) else str(cause or error)

    def _unknown(self) -> SweepNotFound:
        return SweepNotFound(self.name, self.known(), self.what)

    async def _gone(self) -> SweepEnded | SweepNotFound:
        if not self.is_recorded() and await self.described() is None:
            return self._unknown()
        root, is_part, _ = self.name.partition("/")
        if is_part:
            return SweepEnded(f"{self.name} is over; as a part of {root} it goes on only when that does")
        return SweepEnded(f"{self.name} is over; run it again with resume=True (`--resume`){self.more}")


def cause_of(error: WorkflowFailureError) -> BaseException | None:
    """What a workflow was ended by, below the engine's wrappers."""
    cause: BaseException | None = error.cause
    while cause and cause.__cause__ and not isinstance(cause, ApplicationError):
        cause = cause.__cause__
    return cause


def why_of(error: RPCError) -> str:
    """Why a server gave no answer; of one that is late its own word depends on who gives up first."""
    return "it takes too long" if error.status in LATE else str(error)


def silent(error: RPCError) -> ServerError:
    """What is told of a server that gives no useful answer."""
    return ServerError(f"the Temporal server does not answer as it should: {why_of(error)}")
