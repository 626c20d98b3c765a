import os
import signal
from pathlib import Path
from threading import Timer
from time import monotonic, sleep

import psutil
import pytest

from metta.sweep.contracts.events import AttemptEnded, Completed, Failed, Reported, SegmentEnded, Stopped
from tests.runners.driving import are_gone, attempt, code, code_here, driving, failure_in, folder_of, key_of
from tests.runners.objectives import LONG_S

pytestmark = pytest.mark.usefixtures("project")


def kind_of(event: AttemptEnded) -> str:
    return "completed" if isinstance(event, Completed) else failure_in(event).kind


def metrics_of(event: AttemptEnded) -> dict[str, float]:
    assert isinstance(event, Completed), event
    return event.metrics or {}


# --- results ---


def test_what_an_objective_returns_becomes_its_result_or_the_failure_that_says_why_not() -> None:
    expected = {
        "number": ("completed", {"value": 0.5}),
        "dict": ("completed", {"accuracy": 0.5}),
        "numpy": ("completed", {"accuracy": 0.5, "hits": 3.0, "loss": 0.25}),
        "string": ("bad_metric", "good"),
        "none": ("no_result", "returned nothing and reported nothing"),
        "nan": ("bad_metric", "nan"),
        "inf": ("bad_metric", "inf"),
        "empty": ("bad_metric", "no metric"),
        "raise": ("user", "ZeroDivisionError: division by zero"),
    }
    with driving(code("returns")) as driver:
        ends = driver.run(*(attempt(number, what=what) for number, what in enumerate(expected)))
    for end, (what, (kind, told)) in zip(dict(sorted(ends.items())).values(), expected.items(), strict=True):
        assert kind_of(end) == kind, what
        if isinstance(end, Completed):
            assert end.metrics == told
        else:
            assert str(told) in failure_in(end).message


def test_parameters_reach_an_asynchronous_objective_and_its_result_comes_back() -> None:
    with driving(code("asynchronous"), slots=2) as driver:
        ends = driver.run(*(attempt(number, x=number / 10) for number in range(6)))
    assert [metrics_of(ends[n]) for n in range(6)] == [{"accuracy": n / 10} for n in range(6)]


def test_each_report_comes_once_with_its_number_and_its_checkpoint() -> None:
    with driving(code("learns")) as driver:
        driver.start(attempt())
        for seq in range(3):
            event = driver.next()
            assert isinstance(event, Reported)
            assert (event.seq, event.step, event.metrics) == (seq, seq + 1, {"accuracy": (seq + 1) / 10})
            assert event.checkpoint == str(folder_of(0) / "checkpoints" / str(seq + 1))
            driver.pool.answer(key_of(event))
        end = driver.next()
    assert isinstance(end, Completed)
    assert end.metrics is None
    assert end.seconds > 0


def test_long_messages_arrive_whole() -> None:
    with driving(code("tells_much")) as driver:
        key = driver.start(attempt(text="x" * 1_000_000))
        report = driver.next()
        driver.pool.answer(key)
        assert isinstance(report, Reported)
        assert report.metrics == {f"metric-{number}": float(number) for number in range(10_000)}
        assert metrics_of(driver.end()) == {"size": 1_000_000}


def test_steps_that_do_not_rise_are_no_reports_and_a_missing_checkpoint_is_told() -> None:
    with driving(code("careless")) as driver:
        driver.start(attempt())
        steps = []
        while isinstance(event := driver.next(), Reported):
            steps.append(event.step)
            driver.pool.answer(key_of(event))
    assert steps == [1, 3, 4]
    assert failure_in(event).kind == "user"
    assert "there is no checkpoint" in failure_in(event).message
    assert "missing" in failure_in(event).message


def test_a_segment_ends_at_its_last_step_and_goes_on_from_its_checkpoint() -> None:
    with driving(code("learns")) as driver:
        end = driver.run(attempt().model_copy(update={"until_step": 2}))[0]
    assert isinstance(end, SegmentEnded)
    assert (end.step, end.checkpoint) == (2, str(folder_of(0) / "checkpoints" / "2"))
    assert Path(str(end.checkpoint)).read_text() == "2"


# --- deaths ---


def test_whatever_ends_a_process_is_the_failure_of_its_trial_alone() -> None:
    expected = {
        "segfault": ("user", "signal 11 (Segmentation fault)"),
        "_exit 0": ("user", "exited with code 0"),
        "_exit 3": ("user", "exited with code 3"),
        "sys.exit": ("user", "SystemExit: enough"),
        "MemoryError": ("oom", "MemoryError"),
        "SIGKILL": ("infra", "somebody killed the process with SIGKILL"),
        "SIGTERM": ("infra", "somebody killed the process with SIGTERM"),
        "real-time signal": ("user", "signal 40"),
        "child": ("user", "signal 11 (Segmentation fault)"),
        "fork": ("user", "signal 11 (Segmentation fault)"),
        "scribbles": ("user", "broke its connection"),
        "closes": ("user", "broke its connection"),
        "breakpoint": ("user", "exited with code 1"),
        "SIGINT": ("completed", ""),
    }
    with driving(code("dies"), slots=2) as driver:
        ends = driver.run(*(attempt(number, how=how) for number, how in enumerate(expected)))
        after = driver.run(*(attempt(100 + number, how="not") for number in range(2)))
    got = {how: kind_of(ends[number]) for number, how in enumerate(expected)}
    assert got == {how: kind for how, (kind, _) in expected.items()}
    for number, (kind, message) in enumerate(expected.values()):
        assert kind == "completed" or message in failure_in(ends[number]).message
    assert {kind_of(end) for end in after.values()} == {"completed"}


def test_a_child_that_the_objective_forks_and_forgets_spoils_nothing() -> None:
    with driving(code("dies")) as driver:
        ends = driver.run(attempt(0, how="forgets"), attempt(1, how="not soon"))
    assert [metrics_of(ends[number]) for number in range(2)] == [{"accuracy": 0.0}, {"accuracy": 1.0}]


def test_a_child_that_speaks_after_the_end_of_its_trial_spoils_nothing() -> None:
    with driving(code("dies")) as driver:
        ends = driver.run(attempt(0, how="leaves a scribbler"))
        while psutil.Process().children():  # until it hears that, and ends the process
            driver.pool.wait(1.0)
        ends |= driver.run(attempt(1, how="not"))
    assert {kind_of(end) for end in ends.values()} == {"completed"}


def test_a_process_that_the_kernel_kills_for_want_of_memory_is_told_as_that(memory_cgroup: Path) -> None:
    with driving(code("eats")) as driver:
        ends = driver.run(attempt(cgroup=str(memory_cgroup)))
    assert failure_in(ends[0]).kind == "oom"


def test_a_process_that_somebody_kills_while_it_is_idle_is_replaced() -> None:
    with driving(code("naps")) as driver:
        before = metrics_of(driver.run(attempt(0, s=0))[0])
        os.kill(int(before["pid"]), signal.SIGKILL)
        assert are_gone([int(before["pid"])])
        driver.pool.wait(0)
        assert metrics_of(driver.run(attempt(1, s=0))[1]) != before


# --- limits ---

HANGS = ["sleep", "ignores SIGTERM", "holds the interpreter", "hears and stays"]


@pytest.mark.parametrize("how", HANGS)
@pytest.mark.parametrize("ending", ["timeout", "stop"])
def test_an_attempt_that_does_not_listen_is_killed_with_all_that_it_has_started(
    how: str, ending: str
) -> None:
    timeout_s = 0.3 if ending == "timeout" else None
    with driving(code("hangs"), grace_s=0.2, timeout_s=timeout_s) as driver:
        pids = driver.hung(attempt(how=how))
        if ending == "stop":
            driver.pool.stop(attempt().key)
        end = driver.end()
        assert are_gone(pids)
        assert isinstance(driver.run(attempt(1, how="not"))[1], Completed)
    if ending == "stop":
        assert isinstance(end, Stopped)
    else:
        assert failure_in(end).kind == "timeout"
        assert failure_in(end).message == "it took longer than 0.3 s"


def test_an_attempt_that_takes_too_long_ends_at_its_next_report() -> None:
    with driving(code("hangs"), timeout_s=0.3, grace_s=30) as driver:
        [runner, *_] = driver.hung(attempt(how="hears"))
        assert failure_in(driver.end()).kind == "timeout"
        assert not are_gone([runner], patience_s=0)


def test_an_attempt_that_is_told_to_stop_does_so_at_its_next_report() -> None:
    with driving(code("hangs"), grace_s=30) as driver:
        [runner, *_] = driver.hung(attempt(how="hears"))
        driver.pool.stop(attempt().key)
        assert isinstance(driver.end(), Stopped)
        assert not are_gone([runner], patience_s=0)


def test_time_does_not_run_while_a_report_waits_to_be_recorded() -> None:
    with driving(code("learns"), timeout_s=0.4, grace_s=0.1) as driver:
        driver.start(attempt())
        for written in (["1"], ["1", "2"], ["1", "2", "3"]):  # it goes no further meanwhile
            assert isinstance(driver.next(), Reported)
            deadline = monotonic() + 0.6
            while monotonic() < deadline:  # a disk may be full for long
                assert driver.pool.wait(0.1) == []
            assert sorted(path.name for path in (folder_of(0) / "checkpoints").iterdir()) == written
            driver.pool.answer(attempt().key)
        assert isinstance(driver.next(), Completed)


@pytest.mark.parametrize("forgiven", [True, False])
def test_time_in_which_nobody_could_hear_of_it_is_not_the_attempts(forgiven: bool) -> None:
    with driving(code("naps"), timeout_s=2.0, grace_s=0.1) as driver:
        driver.run(attempt(0, s=0))  # the process is there
        driver.start(attempt(1, s=3.0))
        sleep(1.9)
        if forgiven:
            driver.pool.forgive(1.9)
        ended = driver.end()
        assert isinstance(ended, Completed if forgiven else Failed)


def test_time_does_not_run_while_the_objective_is_loaded(project: Path) -> None:
    (project / "slow.py").write_text("import time\ntime.sleep(1)\ndef train(params): return 1\n")
    with driving(code_here("slow:train"), timeout_s=0.5, grace_s=0) as driver:
        assert isinstance(driver.run(attempt())[0], Completed)


def test_an_attempt_that_has_not_begun_is_stopped_at_once(project: Path) -> None:
    (project / "slow.py").write_text(f"import time\ntime.sleep({LONG_S})\n")
    with driving(code_here("slow:train")) as driver:
        key = driver.start(attempt())
        driver.pool.stop(key)
        assert isinstance(driver.next(), Stopped)
        assert driver.pool.free() == 1


def test_what_is_said_of_an_attempt_that_is_over_changes_nothing() -> None:
    with driving(code("naps")) as driver:
        driver.run(attempt(0, s=0))
        driver.pool.answer(attempt(0).key)
        driver.pool.stop(attempt(0).key)
        assert isinstance(driver.run(attempt(1, s=0))[1], Completed)


def test_a_process_runs_no_more_trials_than_it_may() -> None:
    with driving(code("naps"), max_trials_per_process=2) as driver:
        ends = driver.run(*(attempt(number, s=0) for number in range(5)))
        pids = [metrics_of(ends[number])["pid"] for number in range(5)]
        assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]
        assert are_gone([int(pid) for pid in pids[:4]])


def test_processes_come_and_go_without_leaving_descriptors_behind() -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    with driving(code("dies"), slots=2, max_trials_per_process=1) as driver:
        driver.run(*(attempt(number, how="not") for number in range(2)))
        within = len(os.listdir("/proc/self/fd"))
        driver.run(*(attempt(number, how=how) for number, how in enumerate(["not", "segfault"] * 6)))
        driver.pool.wait(0.5)
        assert len(os.listdir("/proc/self/fd")) <= within
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_a_closed_pool_has_killed_everything_and_says_nothing() -> None:
    with driving(code("hangs"), slots=2) as driver:
        pids = driver.hung(attempt(0)) + driver.hung(attempt(1, how="holds the interpreter"))
        driver.pool.close()
        driver.pool.close()
        driver.pool.wake()
        assert are_gone(pids)


def test_another_thread_can_wake_a_pool_that_waits() -> None:
    with driving(code("naps")) as driver:
        Timer(0.1, driver.pool.wake).start()
        assert driver.pool.wait(None) == []


def test_only_as_many_processes_start_as_there_are_attempts() -> None:
    with driving(code("naps"), slots=8) as driver:
        driver.run(attempt(0, s=0), attempt(1, s=0))
        assert len(psutil.Process().children()) <= 2


# --- surroundings ---


@pytest.mark.parametrize(("slots", "own"), [(1, None), (2, None), (2, "3"), (64, None)])
def test_libraries_get_the_threads_of_their_slot_unless_the_user_says_otherwise(
    slots: int, own: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if own:
        monkeypatch.setenv("OMP_NUM_THREADS", own)
    with driving(code("environment"), slots) as driver:
        end = driver.run(attempt())[0]
    threads = max(1, len(os.sched_getaffinity(0)) // slots)
    assert metrics_of(end)["OMP_NUM_THREADS"] == (float(own) if own else threads)
    assert metrics_of(end)["OPENBLAS_NUM_THREADS"] == threads
