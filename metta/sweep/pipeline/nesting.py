"""Nesting in local runs: what a stage asks for runs in this process."""

import contextvars
import threading
from concurrent.futures import Future
from typing import Any

from metta.sweep.contracts.nesting import Begun, Wanted


class LocalNesting:
    """Carries out each run in a thread of its own."""

    def begun(self, wanted: Wanted) -> Begun:
        """Let a run begin."""
        end = Future[Any]()
        context = contextvars.copy_context()
        # not one of the loop's own threads: the process would wait for one that hangs
        threading.Thread(target=context.run, args=(_run, wanted, end), name=wanted.kind, daemon=True).start()
        return Begun(wanted.name or wanted.kind, end, lambda value: value)


def _run(wanted: Wanted, end: Future[Any]) -> None:
    if not end.set_running_or_notify_cancel():  # nobody wants it any more
        return
    try:
        end.set_result(wanted.here())
    except BaseException as error:  # whoever waits for it raises it
        end.set_exception(error)
