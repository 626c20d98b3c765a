import os
from pathlib import Path
from time import sleep

import pytest

from metta.sweep.contracts.events import Completed
from tests.runners.driving import attempt, code, driving, failure_in, folder_of

pytestmark = pytest.mark.usefixtures("project", "_buffered")

FLOOD = 10 << 20


@pytest.fixture
def _buffered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)


def log_of(number: int) -> Path:
    return folder_of(number) / "log.txt"


def test_a_log_is_made_by_the_first_output_and_by_nothing_else() -> None:
    with driving(code("writes")) as driver:
        driver.run(attempt(0), attempt(1, text="hello\n"), attempt(2))
    assert [log_of(number).exists() for number in range(3)] == [False, True, False]
    assert not folder_of(0).exists()
    assert log_of(1).read_text() == "hello\n"


def test_a_flood_of_output_neither_blocks_nor_mixes_with_that_of_others() -> None:
    with driving(code("writes"), slots=2) as driver:
        ends = driver.run(
            *(attempt(n, text=letter * 1024, times=FLOOD >> 10) for n, letter in enumerate("ab"))
        )
    assert all(isinstance(end, Completed) for end in ends.values())
    for number, letter in enumerate("ab"):
        assert log_of(number).read_text() == letter * FLOOD


def test_output_that_never_ends_does_not_keep_others_waiting() -> None:
    folder_of(0).mkdir(parents=True)
    log_of(0).symlink_to(os.devnull)
    with driving(code("floods"), slots=2) as driver:
        driver.start(attempt(0))
        assert isinstance(driver.run(attempt(1, quiet=True))[1], Completed)


def test_output_without_a_newline_is_there_before_the_end_is_told() -> None:
    with driving(code("writes")) as driver:
        driver.start(attempt(text="half a line"))
        driver.next()
        assert log_of(0).read_text() == "half a line"


def test_lines_before_a_sudden_death_are_in_the_log_and_in_the_failure() -> None:
    with driving(code("writes")) as driver:
        end = driver.run(attempt(text="last words\n", die=True))[0]
    assert log_of(0).read_text() == "last words\n"
    assert failure_in(end).traceback == "last words\n"


def test_a_segfault_says_where_it_happened() -> None:
    with driving(code("dies")) as driver:
        end = driver.run(attempt(how="segfault"))[0]
    assert "in segfault" in failure_in(end).traceback


def test_output_after_the_end_belongs_to_nobody() -> None:
    with driving(code("writes")) as driver:
        driver.run(attempt(0, text="one\n", late="too late"))
        sleep(0.5)  # nobody looks, so that it is found when the next one begins
        driver.run(attempt(1, text="two\n"))
    assert log_of(0).read_text() == "one\n"
    assert log_of(1).read_text() == "two\n"


def test_bytes_that_are_no_text_are_kept_in_the_log_and_readable_in_the_failure() -> None:
    with driving(code("writes")) as driver:
        end = driver.run(attempt(raw="ff00", die=True))[0]
    assert log_of(0).read_bytes() == b"\xff\0"
    assert failure_in(end).traceback == "\ufffd\0"


def test_a_log_that_cannot_be_written_does_not_end_the_trial() -> None:
    folder_of(0).parent.mkdir()
    folder_of(0).write_text("in the way")
    with driving(code("writes")) as driver:
        assert isinstance(driver.run(attempt(text="hello\n"))[0], Completed)


def test_streams_that_a_trial_closed_or_replaced_end_nothing() -> None:
    with driving(code("breaks_streams")) as driver:
        ends = driver.run(
            *(attempt(number, how=how) for number, how in enumerate(["close", "replace", "descriptor"]))
        )
    assert all(isinstance(end, Completed) for end in ends.values())


def test_output_of_children_is_in_the_log_too() -> None:
    with driving(code("writes")) as driver:
        driver.run(attempt(child="from a child"))
    assert log_of(0).read_text() == f"from a child{os.linesep}"
