"""Hosted sessions: each in a thread of its own, which outlives the activity that started it."""

import asyncio
from concurrent.futures import Future
from contextvars import copy_context
from threading import Thread

from metta.sweep.activities.meters import SessionMeter
from metta.sweep.contracts.attempts import Code
from metta.sweep.contracts.budgets import Control
from metta.sweep.contracts.consent import consenting
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.sweeps import Progress, SessionInput, SessionResult
from metta.sweep.search.host import host
from metta.sweep.search.session import Session
from metta.sweep.stores.base import Store


class HostedSession:
    """A session that runs in a thread, and how many activities attend it.

    Args:
        run_id: Run of the workflow that asked for it.
        input: Which sweep.
        store: Where its ledger lies.
        code: Where user code is found.
        meter: What counts; None where nobody does.
    """

    def __init__(
        self, run_id: str, input: SessionInput, store: Store, code: Code, meter: SessionMeter | None = None
    ) -> None:
        self.run_id = run_id
        self.sweep_id = input.sweep_id
        self.control = input.control
        self.attendants = 0
        self._meter = meter
        self._session: Session | None = None
        self._closed = False
        self._outcome = Future[SessionResult | None]()
        self.done = asyncio.wrap_future(self._outcome)
        # its own: sweeps on one worker must not wait for one another; a daemon: one that hangs, in a file
        # system or in user code, must not keep the worker from ending
        run, work = copy_context().run, (self._work, input, store, code)  # what it is about, and its span
        Thread(target=run, args=work, name=input.sweep_id, daemon=True).start()

    @property
    def progress(self) -> Progress | None:
        """How far it is; None before it has begun."""
        return self._session.progress if self._session else None

    def tell(self, control: Control) -> None:
        """Pass on what people want, when it is news."""
        if control == self.control:
            return
        self.control = control
        if self._session:  # one that is still being made reads it when it begins
            self._session.set_control(control)

    def stop(self) -> None:
        """Let the running trials be stopped, and record that."""
        stop = {"stop": True, "version": self.control.version + 1}
        self.tell(self.control.model_copy(update=stop))

    def close(self) -> None:
        """End at once, and record nothing."""
        self._closed = True
        if self._session:
            self._session.close()

    def _work(self, input: SessionInput, store: Store, code: Code) -> None:
        try:
            result = self._run(input, store, code)
        except Exception as error:
            self._outcome.set_exception(error)
        except BaseException as error:  # user code that exits is not to end the worker
            problem = f"its code ended with {error!r}"
            self._outcome.set_exception(DefinitionError([problem], f"the sweep {input.sweep_id}"))
        else:
            self._outcome.set_result(result)

    def _run(self, input: SessionInput, store: Store, code: Code) -> SessionResult | None:
        try:
            with consenting(code.consent):
                self._session = host(input, store, code, observer=self._meter)
                if self._closed:
                    self._session.close()
                return self._session.run(self.control)
        finally:
            if self._meter:
                self._meter.close()
