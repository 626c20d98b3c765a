"""Transcripts: what a job reports on its standard output, taken over into its file of reports.

A program that can do nothing else prints ``::sweep-report {"step": 3, "loss": 0.2}``; without a step it is
the result.
"""

import json
from pathlib import Path

from metta.sweep.contracts.attempts import Attempt
from metta.sweep.contracts.reports import LINE_BYTES, Reports
from metta.sweep.executors.protocol import LOG, REPORTS

PREFIX = b"::sweep-report "

READ_BYTES = 1 << 16


class Transcript:
    """Takes over what an attempt has printed, from where whoever did it before has left off.

    Args:
        attempt: Which attempt.
    """

    def __init__(self, attempt: Attempt) -> None:
        self._log = Path(attempt.folder, LOG)
        self._path = Path(attempt.folder, REPORTS)
        self._reports = Reports(self._path, attempt.attempt, attempt.step)
        self._offset = 0
        self._line = b""  # what was read of a line that had no end yet; of a very long one the beginning
        self._is_known = False

    def read_on(self) -> None:
        """Take over what was printed since; a line that has no end yet is left for the next time."""
        if not self._log.exists():
            return
        if not self._is_known:
            self._offset, self._is_known = self._left_off(), True
        with self._log.open("rb") as log:
            log.seek(self._offset)
            while data := log.read(READ_BYTES):
                self._read(data)

    def finish(self) -> None:
        """Take over a last line that has no end: nothing more comes."""
        self.read_on()
        self._take(self._line)
        self._line = b""

    def _read(self, data: bytes) -> None:
        *parts, rest = data.split(b"\n")
        for part in parts:
            self._offset += len(part) + 1
            self._take((self._line + part)[:LINE_BYTES])
            self._line = b""
        self._offset += len(rest)
        self._line = (self._line + rest)[:LINE_BYTES]

    def _left_off(self) -> int:
        """Behind the last line of the log that was taken over."""
        if not self._path.exists():
            return 0
        offsets = [0]
        for line in self._path.read_bytes().splitlines():
            try:
                offsets.append(int(json.loads(line)["log"]))
            except (ValueError, TypeError, KeyError):  # the job's own
                continue
        return max(offsets)

    def _take(self, line: bytes) -> None:
        if not line.startswith(PREFIX):
            return
        try:
            told = dict(json.loads(line.removeprefix(PREFIX)))
        except (ValueError, TypeError, RecursionError):  # it looks like a report, and is none
            return
        step, checkpoint = told.pop("step", None), told.pop("checkpoint", None)
        said: dict[str, object] = {"result": told} if step is None else {"step": step, "metrics": told}
        if checkpoint:
            said["checkpoint"] = checkpoint
        try:
            self._reports.append(**said, log=self._offset)
        except (ValueError, TypeError) as error:  # a number that JSON has not, or too many of them
            failure = {"kind": "bad_metric", "message": f"it has printed a report that is none: {error}"}
            self._reports.append(failure=failure, log=self._offset)
