"""Reports: the file to which a job appends what it has to say.

The standard library alone, as in all that a job imports.
"""

import errno
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Any

from metta.sweep.contracts.errors import BadMetric, shown

LINE_BYTES = 1 << 16
"""A longer line is no report."""


class Reports:
    """The file of reports, to which all processes of a job may append.

    Args:
        path: The file.
        attempt: The attempt that writes.
        step: Last step recorded before this attempt, or None.
    """

    def __init__(self, path: Path, attempt: int, step: int | None) -> None:
        self._path = path
        self._attempt = attempt
        self._seq = -1
        self._read = 0
        self._is_torn = False
        self.step = step

    def report(self, step: int, metrics: dict[str, float], checkpoint: Path | None) -> None:
        """Append a report, unless its step is not above the last one."""
        with self._locked() as file:
            if self.step is not None and step <= self.step:
                return
            line: dict[str, object] = {"step": step, "metrics": metrics}
            if checkpoint is not None:
                sync(checkpoint)  # durable before the line that names it
                line["checkpoint"] = str(checkpoint)
            self._append(file, line)
            self.step = step

    def append(self, **line: object) -> None:
        """Append any other line."""
        with self._locked() as file:
            self._append(file, line)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """The file, known to its end."""
        file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            with suppress(OSError):  # some network file systems know no locks; most jobs are one process
                flock(file, LOCK_EX)
            self._read_on(file)
            yield file
        finally:
            os.close(file)

    def _read_on(self, file: int) -> None:
        """Learn what other processes of the job have written, and what was here before."""
        tail = b"".join(iter(lambda: self._chunk(file), b""))
        for line in tail.split(b"\n"):
            with suppress(ValueError):  # a process was killed while it wrote that
                self._learn(json.loads(line))
        self._is_torn = not tail.endswith(b"\n") if tail else self._is_torn

    def _chunk(self, file: int) -> bytes:
        chunk = os.pread(file, 1 << 20, self._read)
        self._read += len(chunk)
        return chunk

    def _learn(self, line: Any) -> None:
        if not isinstance(line, dict) or line.get("attempt") != self._attempt:
            return
        if isinstance(line.get("seq"), int):
            self._seq = max(self._seq, line["seq"])
        if isinstance(line.get("step"), int):
            self.step = line["step"] if self.step is None else max(self.step, line["step"])

    def _append(self, file: int, line: Mapping[str, object]) -> None:
        numbered = {"attempt": self._attempt, "seq": self._seq + 1, **line}
        data = f"{json.dumps(numbered, allow_nan=False)}\n".encode()
        if len(data) > LINE_BYTES:
            raise ValueError(
                f"a report has {LINE_BYTES} bytes at most, got {len(data)}: report fewer metrics"
            )
        data = b"\n" + data if self._is_torn else data
        if os.write(file, data) < len(data):  # a disk that fills up writes what fits
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        os.fsync(file)
        self._seq += 1


def sync(path: Path) -> None:
    """Make a file, or all files of a folder, durable.

    Raises:
        FileNotFoundError: When there is no such file.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no checkpoint {str(path)!r}; write it before you report it")
    for file in [path, *(path.rglob("*") if path.is_dir() else ()), path.parent]:
        if file.is_file() or file.is_dir():  # not a broken link, nor a pipe, whose opening would block
            descriptor = os.open(file, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def finite(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Metrics as native finite floats.

    Raises:
        BadMetric: When there is none, or one is not a finite number.
    """
    if not metrics:
        raise BadMetric("there is no metric; give at least one number by name")
    return {str(name): finite_number(f"metric {name!r}", value) for name, value in metrics.items()}


def finite_number(what: str, value: Any) -> float:
    """A number as a native finite float.

    Args:
        what: What it is called in the error.
        value: The number.

    Raises:
        BadMetric: When it is not a finite number.
    """
    plain = value.tolist() if hasattr(value, "tolist") else value  # a scalar of numpy's or torch's
    if isinstance(plain, bool) or not isinstance(plain, (int, float)):
        kind = type(value).__name__
        raise BadMetric(f"{what} is {shown(plain)} ({kind}); return a number or a dict of numbers")
    if not abs(plain) <= sys.float_info.max:  # a whole number may be too large for a float as well
        raise BadMetric(f"{what} is {shown(plain)}; a metric has to be finite")
    return float(plain)
