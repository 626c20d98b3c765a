"""What jobs have written down about themselves, as it is read."""

import json
from pathlib import Path

import pytest

from metta.sweep.contracts.attempts import Attempt
from metta.sweep.executors.reports import Reports

LINE = '{"step": %d, "metrics": {"loss": 0.5}}'


@pytest.fixture
def reports(tmp_path: Path) -> Reports:
    return Reports(Attempt(trial=0, attempt=2, params={}, seed=0, folder=str(tmp_path)))


def write(folder: Path, *lines: str, end: str = "\n") -> int:
    """Append lines; returns the size of the file then."""
    file = folder / "reports.jsonl"
    with file.open("a", encoding="utf-8") as written:
        written.write("\n".join(lines) + end)
    return file.stat().st_size


def steps(reports: Reports, limit: int | None = None) -> list[int]:
    return [event.step for event in reports.read(1.0, limit)]


def test_a_line_that_is_being_written_is_read_the_next_time(reports: Reports, tmp_path: Path) -> None:
    assert steps(reports) == []
    write(tmp_path, LINE % 1, (LINE % 2)[:9], end="")
    assert steps(reports) == [1]
    write(tmp_path, (LINE % 2)[9:], LINE % 3)
    assert steps(reports) == [2, 3]
    assert (reports.step, reports.garbage) == (3, 0)


def test_a_last_line_without_an_end_counts_when_nothing_follows(reports: Reports, tmp_path: Path) -> None:
    size = write(tmp_path, LINE % 1, LINE % 2, end="")
    assert steps(reports) == [1]
    assert [event.step for event in reports.finish(1.0)] == [2]
    assert (reports.size, reports.garbage) == (size, 0)


def test_a_last_line_that_was_cut_off_does_not_count(reports: Reports, tmp_path: Path) -> None:
    write(tmp_path, LINE % 1, (LINE % 2)[:-1], end="")
    assert [event.step for event in reports.finish(1.0)] == [1]
    assert reports.step == 1


def test_others_read_what_they_are_promised_the_last_line_included(reports: Reports, tmp_path: Path) -> None:
    write(tmp_path, LINE % 1, LINE % 2, end="")
    reports.finish(1.0)
    other = Reports(Attempt(trial=0, attempt=2, params={}, seed=0, folder=str(tmp_path)))
    assert steps(other, reports.size) == [1, 2]
    assert steps(other, reports.size) == []


def test_what_comes_after_the_promise_is_left_for_the_next_one(reports: Reports, tmp_path: Path) -> None:
    first = write(tmp_path, LINE % 1)
    whole = write(tmp_path, LINE % 2)
    assert steps(reports, first) == [1]
    assert steps(reports, whole) == [2]


def test_steps_that_do_not_rise_and_lines_of_other_attempts_change_nothing(
    reports: Reports, tmp_path: Path
) -> None:
    other = json.dumps({"attempt": 1, "step": 9, "metrics": {"loss": 1}})
    write(tmp_path, LINE % 2, LINE % 2, LINE % 1, other, LINE % 3)
    assert steps(reports) == [2, 3]
    assert reports.garbage == 1


@pytest.mark.parametrize(
    "line",
    ["nonsense", "[1]", "7", "null", "{", '{"step": "one"}', '{"failure": {"kind": "bored"}}', "[" * 9999],
)
def test_lines_that_are_no_reports_are_passed_over_and_counted(
    reports: Reports, tmp_path: Path, line: str
) -> None:
    write(tmp_path, LINE % 1, line, LINE % 2)
    assert steps(reports) == [1, 2]
    assert (reports.garbage, reports.failure) == (1, None)


@pytest.mark.parametrize(
    "line",
    [
        '{"step": 1, "metrics": {"loss": NaN}}',
        '{"step": 1, "metrics": {"loss": 1e999}}',
        '{"step": 1, "metrics": {"loss": "low"}}',
        '{"step": 1, "metrics": {}}',
        '{"step": 1}',
        '{"result": {"loss": -Infinity}}',
        '{"result": "good"}',
    ],
)
def test_a_number_that_is_none_fails_the_trial(reports: Reports, tmp_path: Path, line: str) -> None:
    write(tmp_path, line)
    assert steps(reports) == []
    assert reports.failure
    assert reports.failure.kind == "bad_metric"


def test_results_failures_and_checkpoints_are_told(reports: Reports, tmp_path: Path) -> None:
    failure = {"kind": "oom", "message": "too large"}
    write(
        tmp_path,
        json.dumps({"step": 1, "metrics": {"loss": 1}, "checkpoint": "one"}),
        LINE % 2,
        json.dumps({"result": 0.25}),
        json.dumps({"failure": failure}),
    )
    first, second = reports.read(7.0)
    assert (first.at, first.seq, first.checkpoint, second.seq, second.checkpoint) == (7.0, 0, "one", 1, None)
    assert reports.checkpoint == "one"
    assert reports.result == {"value": 0.25}
    assert reports.failure
    assert (reports.failure.kind, reports.failure.message) == ("oom", "too large")


def test_of_a_long_failure_the_beginning_of_the_message_and_the_end_of_the_traceback_stay(
    reports: Reports, tmp_path: Path
) -> None:
    failure = {"kind": "user", "message": "first " + "m" * 9000, "traceback": "t" * 40000 + "\nlast"}
    write(tmp_path, json.dumps({"failure": failure}))
    reports.read(1.0)
    assert reports.failure
    assert len(reports.failure.traceback) <= 4096
    assert reports.failure.traceback.endswith("\nlast")
    assert len(reports.failure.message) <= 4096
    assert reports.failure.message.startswith("first ")


def test_a_line_that_is_too_long_is_passed_over(reports: Reports, tmp_path: Path) -> None:
    write(tmp_path, json.dumps({"step": 1, "metrics": {"m" * 70_000: 1}}), LINE % 2)
    assert steps(reports) == [2]
    assert reports.garbage == 1
