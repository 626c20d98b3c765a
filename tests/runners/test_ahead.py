"""Short attempts that lie ready behind those that run."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from metta.sweep.contracts.attempts import Attempt
from metta.sweep.contracts.events import AttemptEnded, Completed, Failed, Reported, Stopped
from metta.sweep.runners.processes import LATE_S
from tests.runners.driving import Driver, attempt, code, code_here, driving, failure_in, folder_of, key_of
from tests.runners.test_runner import owner

pytestmark = pytest.mark.usefixtures("project")

SEVERAL = 6


@contextmanager
def warm(objective: str, slots: int = 1, **options: Any) -> Iterator[Driver]:
    """A pool that has seen short attempts only, one in each of its processes."""
    with driving(code(objective), slots, **options) as driver:
        room = 0
        while room < SEVERAL * slots:
            handed(driver, *(attempt(number) for number in range(slots)))
            room = driver.pool.ahead()
            ends_of(driver, slots)
        yield driver


def handed(driver: Driver, *attempts: Attempt) -> None:
    """Hand attempts over, more than there are slots."""
    for one in attempts:
        assert driver.pool.free() or driver.pool.ahead()
        driver.pool.start(one)


def ends_of(driver: Driver, count: int) -> dict[int, AttemptEnded]:
    """Ends of so many attempts, in their order; reports are answered."""
    ends: dict[int, AttemptEnded] = {}
    while len(ends) < count:
        if isinstance(event := driver.next(), Reported):
            driver.pool.answer(key_of(event))
        else:
            assert event.trial not in ends, "an attempt ended twice"
            ends[event.trial] = event
    return ends


def test_nothing_lies_ready_before_it_is_known_how_short_attempts_are() -> None:
    with driving(code("does")) as driver:
        driver.start(attempt())
        assert driver.pool.ahead() == 0
        driver.end()
    with warm("does") as driver:
        assert driver.pool.ahead() == 0, "nothing runs behind which it could lie"
        handed(driver, attempt())
        assert driver.pool.ahead() >= SEVERAL
        driver.end()


def test_nothing_lies_ready_behind_attempts_that_take_their_time() -> None:
    with driving(code("does")) as driver:
        driver.run(attempt(s=0.1))
        handed(driver, attempt(s=0.1))
        assert driver.pool.ahead() == 0
        driver.end()


def test_what_lies_ready_runs_in_its_order_and_has_logs_of_its_own() -> None:
    with warm("does") as driver:
        handed(driver, *(attempt(number, text=f"{number}\n") for number in range(SEVERAL)))
        ends = ends_of(driver, SEVERAL)
    assert list(ends) == list(range(SEVERAL))
    assert all(isinstance(end, Completed) for end in ends.values())
    assert [(folder_of(n) / "log.txt").read_text() for n in ends] == [f"{n}\n" for n in ends]


def test_trials_that_report_and_wait_for_answers_do_not_take_them_for_attempts() -> None:
    with warm("does") as driver:
        handed(driver, *(attempt(number, steps=3) for number in range(SEVERAL)))
        assert all(isinstance(end, Completed) for end in ends_of(driver, SEVERAL).values())


def test_one_that_takes_longer_than_expected_does_not_keep_those_behind_it() -> None:
    with warm("does", slots=2) as driver:
        handed(driver, attempt(0, s=20 * LATE_S), *(attempt(n) for n in range(1, SEVERAL)))
        ends = ends_of(driver, SEVERAL)
    assert list(ends)[-1] == 0
    assert all(isinstance(end, Completed) for end in ends.values())


def test_one_that_is_handed_over_a_moment_too_late_runs_all_the_same() -> None:
    with warm("does") as driver:
        handed(driver, attempt(0, s=5 * LATE_S))
        assert driver.pool.ahead()
        sleep(2 * LATE_S)  # as a machine does that has other things to do
        driver.pool.start(attempt(1))
        ends = ends_of(driver, 2)
    assert list(ends) == [0, 1]
    assert all(isinstance(end, Completed) for end in ends.values())


def test_one_that_has_not_begun_is_stopped_at_once_and_the_others_run() -> None:
    with warm("does") as driver:
        handed(driver, attempt(0, s=0.5), *(attempt(n) for n in range(1, SEVERAL)))
        driver.pool.stop(attempt(2).key)
        began = monotonic()
        assert isinstance(event := driver.next(), Stopped)
        assert event.trial == 2
        assert monotonic() - began < 0.5
        ends = ends_of(driver, SEVERAL - 1)
    assert list(ends) == [0, 1, 3, 4, 5]
    assert all(isinstance(end, Completed) for end in ends.values())
    assert not folder_of(2).exists()


def test_all_of_them_can_be_stopped(tmp_path: Path) -> None:
    with warm("does") as driver:
        handed(driver, attempt(0, s=0.05, steps=1), *(attempt(n) for n in range(1, SEVERAL)))
        for number in range(SEVERAL):
            driver.pool.stop(attempt(number).key)
        ends = ends_of(driver, SEVERAL)
    assert all(isinstance(end, Stopped) for end in ends.values())


def test_a_stop_finds_its_attempt_though_nobody_has_heard_yet_that_it_has_begun() -> None:
    with warm("does") as driver:
        handed(driver, attempt(0), attempt(1, steps=10**6))
        sleep(0.3)  # the first one has ended meanwhile, and nobody has looked
        driver.pool.stop(attempt(1).key)
        ends = ends_of(driver, 2)
    assert [type(ends[n]) for n in range(2)] == [Completed, Stopped]


def test_what_has_not_begun_can_be_taken_back() -> None:
    with warm("does") as driver:
        handed(driver, attempt(0, s=0.3), *(attempt(n) for n in range(1, SEVERAL)))
        sleep(0.1)
        taken = driver.pool.take_back(every=True)
        assert [one.trial for one in taken] == list(range(1, SEVERAL))
        assert list(ends_of(driver, 1)) == [0]
        assert driver.pool.free() == 1


def test_a_process_from_which_all_was_taken_back_has_all_of_its_time_for_the_next(project: Path) -> None:
    (project / "slow.py").write_text("import time\ntime.sleep(0.5)\ndef train(params): return 1\n")
    with driving(code_here("slow:train"), timeout_s=0.4, grace_s=0) as driver:
        handed(driver, attempt(0))
        assert [one.trial for one in driver.pool.take_back(every=True)] == [0]
        assert driver.pool.ahead() == 0
        sleep(0.8)
        assert isinstance(driver.run(attempt(1))[1], Completed)


def test_more_than_a_socket_takes_is_handed_over_without_waiting() -> None:
    params = {f"parameter-{number}": "x" * 200 for number in range(100)}
    with warm("does") as driver:
        handed(driver, attempt(0, steps=1, **params))
        began = monotonic()
        count = 1 + driver.pool.ahead()
        handed(driver, *(attempt(number, **params) for number in range(1, count)))
        assert monotonic() - began < 5
        assert all(isinstance(end, Completed) for end in ends_of(driver, count).values())


def test_short_ones_are_not_handed_to_a_process_that_is_busy_for_long() -> None:
    with warm("does", slots=2) as driver:
        handed(driver, attempt(0, s=1.0))
        sleep(2 * LATE_S)
        assert driver.pool.ahead() == 0, "behind that one they would wait"
        assert list(driver.run(attempt(1))) == [1]
        driver.end()


def test_one_that_ends_its_process_takes_none_with_it() -> None:
    with warm("does") as driver:
        handed(
            driver, attempt(0, die=True, text="0\n"), *(attempt(n, text=f"{n}\n") for n in range(1, SEVERAL))
        )
        ends = ends_of(driver, SEVERAL)
    assert isinstance(ends[0], Failed)
    assert failure_in(ends[0]).traceback == "0\n"
    assert all(isinstance(ends[n], Completed) for n in range(1, SEVERAL))
    assert [(folder_of(n) / "log.txt").read_text() for n in range(SEVERAL)] == [
        f"{n}\n" for n in range(SEVERAL)
    ]


def test_one_that_is_out_of_time_takes_none_with_it() -> None:
    with warm("does", timeout_s=0.5, grace_s=0.1) as driver:
        handed(driver, attempt(0, s=60), *(attempt(n) for n in range(1, SEVERAL)))
        ends = ends_of(driver, SEVERAL)
    assert failure_in(ends[0]).kind == "timeout"
    assert all(isinstance(ends[n], Completed) for n in range(1, SEVERAL))


def test_a_process_is_handed_no_more_than_it_may_run() -> None:
    with driving(code("does"), max_trials_per_process=4) as driver:
        pids = []
        for number in range(4 * SEVERAL):
            while not (driver.pool.free() or driver.pool.ahead()):
                pids += [
                    end.metrics["pid"]
                    for end in driver.pool.wait(1.0)
                    if isinstance(end, Completed) and end.metrics
                ]
            driver.pool.start(attempt(number))
        while len(pids) < 4 * SEVERAL:
            pids += [
                end.metrics["pid"]
                for end in driver.pool.wait(1.0)
                if isinstance(end, Completed) and end.metrics
            ]
    assert {pids.count(pid) for pid in pids} == {4}


def test_parameters_may_be_larger_than_a_socket_takes() -> None:
    with warm("does") as driver:
        text = "x" * (1 << 20)
        handed(driver, *(attempt(number, text=text) for number in range(SEVERAL)))
        driver.pool.stop(attempt(SEVERAL - 1).key)
        ends = ends_of(driver, SEVERAL)
    assert [type(ends[n]) for n in range(SEVERAL)] == [Completed] * (SEVERAL - 1) + [Stopped]
    assert (folder_of(0) / "log.txt").read_text() == text


def test_nothing_lies_ready_while_other_sweeps_wait_for_the_machine(tmp_path: Path) -> None:
    with warm("does") as driver, owner(tmp_path, "hangs", slots=1) as process:
        assert process.stdout
        handed(driver, attempt())
        while True:  # until the other one has its turn
            events = driver.pool.wait(1.0)
            if not driver.pool.free():
                break
            for _ in events:
                handed(driver, attempt())
        assert process.stdout.readline()
