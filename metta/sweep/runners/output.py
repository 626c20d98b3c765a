"""The output of a runner, sorted into the logs of its attempts."""

import os
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from metta.sweep.contracts.attempts import LOG, Attempt
from metta.sweep.runners.failures import TRACEBACK_CHARS

READ_BYTES = 1 << 16
"""As much as a pipe holds, so that one read gets all that was written before."""


class Output:
    """What a runner and its children write.

    The runner writes a mark where an attempt begins and where it ends; what stands between is its log,
    anything else belongs to nobody. A mark is short, and so the kernel writes it in one piece, and a read
    that empties the pipe never cuts it.
    """

    def __init__(self) -> None:
        self.source, self.theirs = os.pipe()
        os.set_blocking(self.source, False)
        self.mark = f"\0{uuid4().hex}\0"
        self._tail = b""
        self._next: deque[Attempt] = deque()
        self._attempt: Attempt | None = None
        self._is_between = False
        self._log: BinaryIO | None = None

    def expect(self, attempt: Attempt) -> None:
        """The attempt comes after those that are expected already."""
        self._next.append(attempt)

    def forget(self, attempts: Iterable[Attempt]) -> None:
        """These do not come any more."""
        for attempt in attempts:
            self._next.remove(attempt)

    def drain(self) -> bool:
        """Append what was written to the logs; False when the output is closed."""
        try:
            data = os.read(self.source, READ_BYTES)
        except BlockingIOError:
            return True
        first, *others = data.split(self.mark.encode())
        self._append(first)
        for part in others:
            self._switch()
            self._append(part)
        return bool(data)

    @property
    def tail(self) -> str:
        """The end of what the last attempt wrote; before the first one, of what loading its objective did."""
        return self._tail.decode(errors="replace")

    def close(self) -> None:
        """Give everything back."""
        self._close_log()
        os.close(self.source)

    def _switch(self) -> None:
        """An attempt begins or ends."""
        self._close_log()
        if self._is_between or self._attempt is None:
            self._attempt, self._is_between, self._tail = self._next.popleft(), False, b""
        else:
            self._is_between = True

    def _append(self, data: bytes) -> None:
        if not data or self._is_between:
            return
        self._tail = (self._tail + data)[-TRACEBACK_CHARS:]
        if self._attempt is None:  # its objective is being loaded
            return
        with suppress(OSError):  # a full disk leaves a gap in the log, and does not end the trial
            if self._log is None:
                path = Path(self._attempt.folder) / LOG
                path.parent.mkdir(parents=True, exist_ok=True)
                self._log = path.open("ab", buffering=0)
            self._log.write(data)

    def _close_log(self) -> None:
        if self._log:
            self._log.close()
        self._log = None
