"""How attempts have ended, by what is known of their jobs."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.contracts.attempts import Attempt
from metta.sweep.contracts.events import AttemptEnded, Completed, Failed, SegmentEnded, Stopped
from metta.sweep.contracts.jobs import JobEnd
from metta.sweep.executors.reports import Reports
from metta.sweep.executors.verdicts import verdict

REPORT = {"step": 3, "metrics": {"loss": 0.5}, "checkpoint": "three"}
RESULT = {"result": {"loss": 0.25}}
OWN = {"failure": {"kind": "infeasible", "message": "too deep", "traceback": "its own"}}


class Case:
    """An attempt in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, end: JobEnd, *lines: object, tail: str = "", **attempt: Any) -> AttemptEnded:
        """The verdict on an attempt that has reported something."""
        file = self._folder / "reports.jsonl"
        file.write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8")
        judged = Attempt(trial=4, params={}, seed=0, folder=str(self._folder), **attempt)
        reports = Reports(judged)
        reports.read(1.0)
        return verdict(judged, end, reports, tail, 9.0)


@pytest.fixture
def judged(tmp_path: Path) -> Case:
    return Case(tmp_path)


def kind_of(end: AttemptEnded) -> str:
    assert isinstance(end, Failed), end
    return end.failure.kind


def test_exit_code_0_and_a_result_or_a_report_complete_an_attempt(judged: Case) -> None:
    end = judged(JobEnd(code=0, seconds=2.5), REPORT, RESULT)
    assert isinstance(end, Completed)
    assert (end.at, end.trial, end.seconds, end.metrics) == (9.0, 4, 2.5, {"loss": 0.25})
    end = judged(JobEnd(code=0), REPORT)
    assert isinstance(end, Completed)
    assert end.metrics is None
    end = judged(JobEnd(code=0), step=3)
    assert isinstance(end, Completed), "it goes on from its last checkpoint and had nothing left to do"


def test_nothing_reported_is_no_result(judged: Case) -> None:
    assert kind_of(judged(JobEnd(code=0))) == "no_result"


@pytest.mark.parametrize(
    ("end", "kind", "message"),
    [
        (JobEnd(code=3), "user", "it exited with code 3"),
        (JobEnd(code=75), "infra", "it goes on from its checkpoint"),
        (JobEnd(signal=signal.SIGSEGV), "user", "it died of signal 11"),
        (JobEnd(signal=signal.SIGKILL), "infra", "it died of signal 9"),
        (JobEnd(signal=signal.SIGTERM), "infra", "it died of signal 15"),
        (JobEnd(kind="oom", signal=signal.SIGKILL, message="8 GiB were too few"), "oom", "8 GiB"),
        (JobEnd(kind="lost", message="its supervisor is gone"), "lost", "its supervisor is gone"),
        (JobEnd(kind="timeout"), "timeout", "its executor says: timeout"),
    ],
)
def test_who_ended_it_tells_whose_fault_it_was(judged: Case, end: JobEnd, kind: str, message: str) -> None:
    failed = judged(end, REPORT, tail="what it printed\n")
    assert isinstance(failed, Failed)
    assert failed.failure.kind == kind
    assert message in failed.failure.message
    assert failed.failure.traceback == "what it printed\n"


def test_what_it_says_of_its_own_failure_goes_before_its_exit_code(judged: Case) -> None:
    for code in (0, 1):
        end = judged(JobEnd(code=code), REPORT, RESULT, OWN, tail="what it printed")
        assert isinstance(end, Failed)
        assert (end.failure.kind, end.failure.message) == ("infeasible", "too deep")
        assert end.failure.traceback == "its own"


def test_a_number_that_is_none_fails_it_whatever_its_exit_code(judged: Case) -> None:
    assert kind_of(judged(JobEnd(code=0), {"step": 1, "metrics": {"loss": "low"}}, RESULT)) == "bad_metric"


def test_what_was_told_to_end_is_stopped(judged: Case) -> None:
    assert isinstance(judged(JobEnd(kind="cancelled", signal=signal.SIGTERM), REPORT), Stopped)


def test_what_has_come_to_its_pause_is_paused_whatever_it_did_after_that(judged: Case) -> None:
    for end in (JobEnd(code=0), JobEnd(code=1), JobEnd(kind="cancelled"), JobEnd(signal=signal.SIGKILL)):
        paused = judged(end, REPORT, until_step=3)
        assert isinstance(paused, SegmentEnded)
        assert (paused.step, paused.checkpoint) == (3, "three")
    assert isinstance(judged(JobEnd(code=0), REPORT, until_step=4), Completed)


def test_evidence_is_never_more_than_can_travel(judged: Case) -> None:
    own = {"failure": {"kind": "user", "message": "no luck", "traceback": "t" * 40_000 + "last"}}
    for end in (judged(JobEnd(code=1), own), judged(JobEnd(code=1), tail="t" * 40_000 + "last")):
        assert isinstance(end, Failed)
        assert len(end.failure.traceback) <= 4096
        assert end.failure.traceback.endswith("last")
