"""Hosts: runner processes for attempts that come one by one, and report into files."""

from collections import deque
from concurrent.futures import Future
from pathlib import Path
from threading import Lock, Thread
from time import monotonic, time

from metta.sweep.contracts.attempts import Attempt, AttemptKey, Code
from metta.sweep.contracts.events import AttemptEnded, Failed, Reported, Stopped, TrialEvent
from metta.sweep.contracts.failures import Failure
from metta.sweep.contracts.reports import Reports
from metta.sweep.runners.processes import ProcessPool

IDLE_S = 30.0
"""So long processes are kept for the next attempt; they may hold much memory."""


BEAT_S = 1.0


class Running:
    """An attempt that was handed to a host.

    Args:
        host: The host.
        attempt: The attempt.
        reports: File to which its reports are appended.

    Attributes:
        end: How it ends, in the future.
        error: Why a report of it could not be written.
    """

    def __init__(self, host: "ObjectiveHost", attempt: Attempt, reports: Path) -> None:
        self._host, self.attempt = host, attempt
        self._reports = Reports(reports, attempt.attempt, attempt.step)
        self.end = Future[AttemptEnded]()
        self.end.set_running_or_notify_cancel()  # from here on nobody can cancel it
        self.error: Exception | None = None

    def finish(self, event: AttemptEnded) -> None:
        """Tell how it has ended, or what came in between."""
        if isinstance(self.error, ValueError):
            failure = Failure(kind="bad_metric", message=str(self.error))
            key = self.attempt.key._asdict()
            self.end.set_result(Failed(at=event.at, seconds=event.seconds, failure=failure, **key))
        elif self.error:
            self.end.set_exception(self.error)
        else:
            self.end.set_result(event)

    def write(self, event: Reported) -> None:
        """Append a report to its file, durably."""
        checkpoint = Path(event.checkpoint) if event.checkpoint else None
        self._reports.report(event.step, event.metrics, checkpoint)

    def stop(self) -> None:
        """Let it end; does nothing when it has."""
        if not self.end.done():
            self._host.stop(self)


class ObjectiveHost:
    """Runs attempts of one objective in processes of this machine, driven by a thread of its own.

    What an attempt reports is in its file of reports, durably, before the attempt goes on.

    Args:
        code: Where the objective is found.
        slots: Attempts that may run at the same time.
        timeout_s: Longest run of an attempt; None means no limit.
    """

    def __init__(self, code: Code, slots: int, timeout_s: float | None) -> None:
        self._pool = ProcessPool(code, slots, timeout_s=timeout_s)
        self._waiting: deque[Running] = deque()
        self._unwanted: deque[Running] = deque()
        self._running: dict[AttemptKey, Running] = {}
        self._lock = Lock()
        self._is_closed = self._is_over = False
        self._thread = Thread(target=self._work, name="objectives", daemon=True)
        self._thread.start()

    def start(self, attempt: Attempt, reports: Path) -> Running | None:
        """Run an attempt as soon as there is a slot; None when this host is over.

        Args:
            attempt: The attempt.
            reports: File to which its reports are appended.
        """
        running = Running(self, attempt, reports)
        with self._lock:
            if self._is_over:
                return None
            self._waiting.append(running)
            self._pool.wake()
        return running

    def stop(self, running: Running) -> None:
        """Let an attempt end."""
        with self._lock:
            if not self._is_over:
                self._unwanted.append(running)
                self._pool.wake()

    @property
    def is_over(self) -> bool:
        """Whether it takes no more attempts."""
        return self._is_over

    def close(self) -> None:
        """End everything at once."""
        with self._lock:
            if not self._is_over:
                self._is_closed = True
                self._pool.wake()
        self._thread.join()

    def _work(self) -> None:
        error: Exception = OSError("the processes of this worker were closed")
        try:
            self._drive()
        except Exception as raised:  # whatever it is: nobody is to wait for what does not come
            error = raised
        with self._lock:
            self._is_over = True
            self._pool.close()
        for running in (*self._waiting, *self._running.values()):
            running.end.set_exception(error)

    def _drive(self) -> None:
        idle_since = monotonic()
        while not self._is_closed:
            self._feed()
            if self._running or self._waiting:
                idle_since = monotonic()
            elif monotonic() - idle_since > IDLE_S:
                return
            for event in self._pool.wait(BEAT_S):
                self._hear(event, AttemptKey(event.trial, event.segment, event.attempt))

    def _hear(self, event: TrialEvent, key: AttemptKey) -> None:
        running = self._running[key]
        if not isinstance(event, Reported):
            del self._running[key]
            running.finish(event)
            return
        try:
            running.write(event)
        except (OSError, ValueError) as error:  # the others go on
            running.error = error
            self._pool.stop(key)
        self._pool.answer(key)

    def _feed(self) -> None:
        with self._lock:
            while self._unwanted:
                self._drop(self._unwanted.popleft())
            # one that is tried again waits for the end of the try before, which may be on its way still
            ready = [running for running in self._waiting if running.attempt.key not in self._running]
            for running in ready[: self._pool.free()]:
                self._waiting.remove(running)
                self._running[running.attempt.key] = running
                self._pool.start(running.attempt)

    def _drop(self, running: Running) -> None:
        key = running.attempt.key
        if running in self._waiting:
            self._waiting.remove(running)
            running.finish(Stopped(at=time(), **key._asdict()))
        elif self._running.get(key) is running:
            self._pool.stop(key)
