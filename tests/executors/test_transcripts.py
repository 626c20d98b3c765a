import json
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.contracts.attempts import Attempt
from metta.sweep.executors.transcripts import READ_BYTES, Transcript


@pytest.fixture
def attempt(tmp_path: Path) -> Attempt:
    return Attempt(trial=0, params={}, seed=0, folder=str(tmp_path))


def say(attempt: Attempt, data: bytes) -> None:
    with Path(attempt.folder, "log.txt").open("ab") as log:
        log.write(data)


def taken(attempt: Attempt) -> list[Any]:
    file = Path(attempt.folder, "reports.jsonl")
    lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []
    return [{k: v for k, v in line.items() if k not in ("attempt", "seq", "log")} for line in lines]


def test_what_is_printed_as_a_report_is_one(attempt: Attempt) -> None:
    say(attempt, b'hello\n::sweep-report {"step": 1, "loss": 0.5}\n')
    say(
        attempt, b'::sweep-report {"step": 2, "loss": 0.4, "checkpoint": "c"}\n::sweep-report {"loss": 0.3}\n'
    )
    Transcript(attempt).read_on()
    assert taken(attempt) == [
        {"step": 1, "metrics": {"loss": 0.5}},
        {"step": 2, "metrics": {"loss": 0.4}, "checkpoint": "c"},
        {"result": {"loss": 0.3}},
    ]


def test_a_line_without_its_end_waits(attempt: Attempt) -> None:
    transcript = Transcript(attempt)
    transcript.read_on()
    say(attempt, b'::sweep-report {"step": 1, "lo')
    transcript.read_on()
    assert taken(attempt) == []
    say(attempt, b'ss": 0.5}\n')
    transcript.read_on()
    transcript.read_on()
    assert taken(attempt) == [{"step": 1, "metrics": {"loss": 0.5}}]


def test_whoever_goes_on_takes_nothing_twice(attempt: Attempt) -> None:
    say(attempt, b'::sweep-report {"step": 1, "loss": 0.5}\n')
    Transcript(attempt).read_on()
    say(attempt, b'noise\n::sweep-report {"step": 2, "loss": 0.4}\n')
    Transcript(attempt).read_on()
    assert [line["step"] for line in taken(attempt)] == [1, 2]


def test_garbage_binary_and_endless_lines_are_passed_over(attempt: Attempt) -> None:
    say(attempt, b"::sweep-report nonsense\n::sweep-report [1]\n\xff\xfe\x00\n" + b"x" * (3 * READ_BYTES))
    say(attempt, b'::sweep-report {"step": 9, "loss": 1}\n::sweep-report {"step": 1, "loss": 0.5}\n')
    Transcript(attempt).read_on()
    assert taken(attempt) == [{"step": 1, "metrics": {"loss": 0.5}}]
