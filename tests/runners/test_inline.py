from collections.abc import Callable
from threading import Thread, current_thread, main_thread
from typing import Any

import pytest

from metta.sweep import Trial
from metta.sweep.contracts.events import Completed, Failed, Reported, Stopped
from metta.sweep.contracts.objectives import caller_of
from metta.sweep.runners.inline import InlinePool
from tests.runners.driving import Driver, attempt

pytestmark = pytest.mark.usefixtures("project")


def serve(objective: Callable[[Any], Any], drive: Callable[[Driver], None]) -> None:
    """Drive a pool from another thread, and run its trials in this one."""
    pool = InlinePool(caller_of(objective))
    errors: list[BaseException] = []

    def driven() -> None:
        try:
            drive(Driver(pool))
        except BaseException as error:
            errors.append(error)
        finally:
            pool.close()

    thread = Thread(target=driven)
    thread.start()
    pool.serve()
    thread.join()
    if errors:
        raise errors[0]


def learns(trial: Trial) -> None:
    assert current_thread() is main_thread()
    for step in range(1, 4):
        trial.report(step, loss=1 / step)


def test_trials_run_in_the_callers_thread_one_after_the_other() -> None:
    def drive(driver: Driver) -> None:
        ends = driver.run(attempt(0), attempt(1))
        assert all(isinstance(end, Completed) for end in ends.values())

    serve(learns, drive)


def test_reports_are_numbered_and_wait_for_their_answer() -> None:
    def drive(driver: Driver) -> None:
        for number in range(2):
            key = driver.start(attempt(number))
            for seq in range(3):
                event = driver.next()
                assert isinstance(event, Reported)
                assert (event.seq, event.step) == (seq, seq + 1)
                assert driver.pool.wait(0.05) == []
                driver.pool.answer(key)
            assert isinstance(driver.next(), Completed)

    serve(learns, drive)


def test_a_trial_that_is_told_to_stop_does_so_at_its_report() -> None:
    def drive(driver: Driver) -> None:
        key = driver.start(attempt(0))
        driver.next()
        driver.pool.stop(key)
        driver.pool.answer(key)
        assert isinstance(driver.next(), Stopped)
        driver.pool.stop(key)
        assert isinstance(driver.run(attempt(1))[1], Completed)

    serve(learns, drive)


def test_a_failure_is_that_of_its_trial_alone() -> None:
    def drive(driver: Driver) -> None:
        ends = driver.run(attempt(0, divisor=0), attempt(1, divisor=1))
        assert isinstance(ends[0], Failed)
        assert ends[0].failure.message == "ZeroDivisionError: division by zero"
        assert isinstance(ends[1], Completed)

    serve(lambda trial: 1 / trial.params["divisor"], drive)


def test_a_pool_that_is_closed_ends_its_trial_at_the_next_report() -> None:
    steps: list[int] = []

    def objective(trial: Trial) -> None:
        for step in range(1, 100):
            steps.append(step)
            trial.report(step, loss=0.0)

    def drive(driver: Driver) -> None:
        driver.start(attempt())
        driver.next()

    serve(objective, drive)
    assert steps == [1]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_from_the_keyboard_reaches_the_caller_and_an_exit_does_not(
    error: type[BaseException],
) -> None:
    def objective(trial: Trial) -> None:
        raise error

    pool = InlinePool(caller_of(objective))
    pool.start(attempt())
    if error is KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt):
            pool.serve()
    else:
        pool.close()
        pool.serve()
        [end] = pool.wait(1.0)
        assert isinstance(end, Failed)


def test_a_pool_that_waits_can_be_woken() -> None:
    pool = InlinePool(caller_of(learns))
    pool.wake()
    assert pool.wait(None) == []
