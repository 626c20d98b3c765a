"""Hosted sessions: each in a thread of its own, which outlives the activity that started it."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from metta.sweep.contracts.attempts import Code
from metta.sweep.contracts.budgets import Control
from metta.sweep.contracts.sweeps import Progress, SessionInput, SessionResult
from metta.sweep.search.host import host
from metta.sweep.search.session import Session
from metta.sweep.stores.files import FileStore


class HostedSession:
    """A session that runs in a thread, and how many activities attend it.

    Args:
        input: Which sweep.
        store: Where its ledger lies.
        code: Where user code is found.
    """

    def __init__(self, input: SessionInput, store: FileStore, code: Code) -> None:
        self.sweep_id = input.sweep_id
        self.control = input.control
        self.attendants = 0
        self._told: Progress | None = None
        self._session: Session | None = None
        self._closed = False
        # a thread of its own: sweeps on one worker must not wait for one another
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=input.sweep_id)
        self.done = asyncio.get_running_loop().run_in_executor(self._thread, self._run, input, store, code)
        self._thread.shutdown(wait=False)

    def _run(self, input: SessionInput, store: FileStore, code: Code) -> SessionResult | None:
        self._session = host(input, store, code)
        if self._closed:
            self._session.close()
        return self._session.run(self.control)

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

    def news(self) -> Progress | None:
        """How far it is, unless that was told already; the best trials only when they changed."""
        progress = self._session.progress if self._session else None
        if progress is None or progress is self._told:
            return None
        unchanged = self._told is not None and progress.best == self._told.best
        self._told = progress
        return progress.model_copy(update={"best": None}) if unchanged else progress
