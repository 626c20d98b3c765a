"""Reports: what a job has written down about itself, read as events."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import ValidationError

from metta.sweep.contracts.attempts import Attempt
from metta.sweep.contracts.errors import BadMetric
from metta.sweep.contracts.events import Reported
from metta.sweep.contracts.failures import EVIDENCE_CHARS, MESSAGE_CHARS, Failure
from metta.sweep.contracts.jobs import ReportLine
from metta.sweep.contracts.metrics import metrics_from
from metta.sweep.contracts.reports import LINE_BYTES, finite
from metta.sweep.contracts.shelves import part_of
from metta.sweep.executors.protocol import REPORTS

Part: TypeAlias = Callable[[int, int | None], bytes]


class Reports:
    """What an attempt has reported, as far as it is read.

    Lines that are no reports are passed over and counted: a job may be written in anything. What is whole
    ends with a newline; a line that is being written is read the next time.

    Args:
        attempt: Which attempt.
        part: Reads a part of the reports, from an offset up to a limit; None reads those in its folder.

    Attributes:
        size: So many bytes are read, all of whole lines.
        step: The last step that was reported.
        checkpoint: The last checkpoint.
        result: The metrics that it gave as its result; None when it gave none.
        failure: Why it fails, as it says itself, or because of a number that is none.
        garbage: So many lines were no reports.
    """

    def __init__(self, attempt: Attempt, part: Part | None = None) -> None:
        self._attempt = attempt
        self._part = part or partial(part_of, Path(attempt.folder, REPORTS))
        self._seq = -1
        self.size = 0
        self.step: int | None = None
        self.checkpoint: str | None = None
        self.result: dict[str, float] | None = None
        self.failure: Failure | None = None
        self.garbage = 0

    def read(self, at: float, limit: int | None = None) -> list[Reported]:
        """Read on.

        Args:
            at: The time by which it is known, in seconds since 1970.
            limit: Up to so many bytes from the beginning of the file, which are known to be whole; None reads
                all lines that have an end.

        Returns:
            What was reported, in its order.
        """
        data = self._part(self.size, limit)
        is_whole = limit is not None and self.size + len(data) >= limit
        whole = data if is_whole else data[: data.rfind(b"\n") + 1]
        return self._taken(whole, at)

    def finish(self, at: float) -> list[Reported]:
        """Read on to the end of a file to which nothing is appended any more.

        A last line without an end counts when it is whole JSON.
        """
        events = self.read(at)
        rest = self._part(self.size, None)
        return [*events, *(self._taken(rest, at) if _line_of(rest) else [])]

    def _taken(self, whole: bytes, at: float) -> list[Reported]:
        self.size += len(whole)
        return [event for line in whole.splitlines() if (event := self._event(line, at))]

    def _event(self, line: bytes, at: float) -> Reported | None:
        told = _line_of(line)
        if told is None or told.attempt not in (None, self._attempt.attempt):
            self.garbage += 1
            return None
        try:
            if told.failure is not None:
                self.failure = _short(Failure.model_validate(told.failure))
            elif told.result is not None:
                self.result = metrics_from(told.result)
            elif told.step is not None and not self._is_late(told.step):
                return self._reported(told, told.step, at)
        except BadMetric as error:
            self.failure = Failure(kind="bad_metric", message=str(error))
        except ValidationError:
            self.garbage += 1
        return None

    def _is_late(self, step: int) -> bool:
        """Whether a step is not above the last one: it changes nothing."""
        return self.step is not None and step <= self.step

    def _reported(self, told: ReportLine, step: int, at: float) -> Reported:
        metrics = finite(told.metrics or {})
        self.step, self.checkpoint = step, told.checkpoint or self.checkpoint
        self._seq += 1
        return Reported(
            at=at,
            trial=self._attempt.trial,
            segment=self._attempt.segment,
            attempt=self._attempt.attempt,
            seq=self._seq,
            step=step,
            metrics=metrics,
            checkpoint=told.checkpoint,
        )


def _short(failure: Failure) -> Failure:
    """A failure that travels: what a job writes may be as long as it likes."""
    short = {"message": failure.message[:MESSAGE_CHARS], "traceback": failure.traceback[-EVIDENCE_CHARS:]}
    return failure.model_copy(update=short)


def _line_of(line: bytes) -> ReportLine | None:
    if len(line) > LINE_BYTES:
        return None
    try:
        data: Any = json.loads(line)
        return ReportLine.model_validate(data)
    except (ValueError, RecursionError):  # of JSON, of UTF-8 and of pydantic
        return None
