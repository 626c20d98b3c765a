"""A program that runs as a trial: what it is told, what that needs, and how it ends."""

import atexit
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any, TypeVar, get_args

import pytest

import metta.sweep
from metta.sweep import trial as job
from metta.sweep.contracts import failures, jobs, trials
from metta.sweep.contracts.attempts import Attempt
from metta.sweep.contracts.errors import DefinitionError, TrialInterrupted
from metta.sweep.contracts.trials import running
from metta.sweep.executors import protocol
from metta.sweep.executors.local import LocalExecutor
from metta.sweep.executors.reports import Reports
from tests.job import BEGIN, LIMIT_S, JobFiles

SomeT = TypeVar("SomeT")


@pytest.fixture
def new(tmp_path: Path) -> Callable[..., JobFiles]:
    return lambda **told: JobFiles(tmp_path / "try-1", **told)


@pytest.fixture
def here(new: Callable[..., JobFiles], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., job.Trial]]:
    """Makes this process one that was started for a trial."""
    handlers = {number: signal.getsignal(number) for number in job.SIGNALS}
    hook = sys.excepthook

    def enter(**told: Any) -> job.Trial:
        files = new(**told)
        monkeypatch.setenv(job.TRIAL_VARIABLE, str(files.file))
        monkeypatch.setenv(job.REPORTS_VARIABLE, str(files.reports))
        return job.current_trial()

    yield enter
    sys.excepthook = hook
    for number, handler in handlers.items():
        signal.signal(number, handler)
    atexit.unregister(signal.signal)
    job._earlier.clear()


# --- what it is told ---


def test_a_program_finds_everything_it_was_told(here: Callable[..., job.Trial], tmp_path: Path) -> None:
    told = here(
        params={"model": "cnn", "model.depth": 3},
        attempt=2,
        until_step=9,
        resume_from="/data/step-4",
        resources={"cpu": 2, "gpu": 0.5, "memory_gib": None, "tpu": 1},
        new_key="of a later version",
    )
    assert (told.params, told.number, told.seed, told.attempt) == (
        {"model": "cnn", "model.depth": 3},
        3,
        7,
        2,
    )
    assert (told.until_step, told.resume_from) == (9, Path("/data/step-4"))
    assert (told.resources.cpu, told.resources.gpu, told.resources.memory_gib) == (2, 0.5, None)
    assert told.nested() == trials.Trial(told.params).nested() == {"model": {"": "cnn", "depth": 3}}
    assert not (tmp_path / "try-1/checkpoints").exists()
    assert told.checkpoint_dir == tmp_path / "try-1/checkpoints"
    assert told.checkpoint_dir.is_dir()


def test_parameters_alone_are_enough_to_try_a_program_by_hand(
    here: Callable[..., job.Trial], tmp_path: Path
) -> None:
    told = here(number=None, seed=None, attempt=None, folder=None)
    assert (told.number, told.seed, told.attempt, told.until_step, told.resume_from) == (0, 0, 1, None, None)
    assert told.resources == job.Resources(cpu=1.0, gpu=0.0, memory_gib=None)
    assert told.checkpoint_dir == tmp_path / "try-1/checkpoints"


def test_it_has_the_names_of_any_other_trial(here: Callable[..., job.Trial]) -> None:
    told = here()
    for_optimizers = {"ended_at"}
    for_tests = {"reports"}
    expected = (
        {name for name in dir(trials.Trial({})) if not name.startswith("_")} - for_optimizers - for_tests
    )
    assert expected <= set(dir(told))
    assert job.current_trial() is told


def test_the_current_trial_is_that_of_the_job_unless_another_one_runs_here(
    here: Callable[..., job.Trial],
) -> None:
    told = here()
    assert metta.sweep.current_trial() is told  # type: ignore[comparison-overlap]
    inner = trials.Trial({})
    with running(inner):
        assert metta.sweep.current_trial() is inner
    assert metta.sweep.current_trial() is told  # type: ignore[comparison-overlap]


def test_outside_of_a_job_it_says_how_to_start_one() -> None:
    with pytest.raises(RuntimeError, match=r"METTA_SWEEP_TRIAL is not set.*Job\(command="):
        job.current_trial()
    with pytest.raises(RuntimeError, match="from within an objective"):
        metta.sweep.current_trial()


def test_a_file_that_is_missing_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(job.TRIAL_VARIABLE, str(tmp_path / "gone.json"))
    with pytest.raises(DefinitionError, match=r"gone\.json.*METTA_SWEEP_TRIAL names it.*No such file"):
        job.current_trial()


@pytest.mark.parametrize("content", ["", '{"params": ', "\xff"])
def test_a_file_that_is_no_json_is_refused(
    content: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "trial.json"
    file.write_text(content, "latin-1")
    monkeypatch.setenv(job.TRIAL_VARIABLE, str(file))
    with pytest.raises(DefinitionError, match="it is no JSON"):
        job.current_trial()


def test_all_mistakes_of_a_file_are_told_at_once(
    new: Callable[..., JobFiles], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = new(params=[1], seed="seven", attempt=True, until_step=1.5)
    monkeypatch.setenv(job.TRIAL_VARIABLE, str(files.file))
    with pytest.raises(DefinitionError) as caught:
        job.current_trial()
    assert caught.value.problems == (
        "METTA_SWEEP_REPORTS is not set; it names the file to which reports are appended",
        "params has to be an object, got [1]",
        "seed has to be a whole number, got 'seven'",
        "attempt has to be a whole number, got True",
        "until_step has to be a whole number, got 1.5",
    )


# --- how it ends ---

FOREVER = "import itertools\nfor step in itertools.count(1):\n    trial.report(step, loss=1)\n"

IN_ASYNCIO = f"""
import asyncio
async def train():
{"".join(f"    {line}" for line in FOREVER.splitlines(keepends=True))}
async def main(): await train()
asyncio.run(main())
"""

IN_TASKS = IN_ASYNCIO.replace("await train()", "await asyncio.gather(train(), asyncio.sleep(60))")

IN_A_TASK_GROUP = IN_ASYNCIO.replace(
    "main(): await train()",
    "main():\n    async with asyncio.TaskGroup() as group: group.create_task(train())",
)

IN_A_GROUP = """
import itertools
try:
    for step in itertools.count(1): trial.report(step, loss=1)
except BaseException as error:
    raise BaseExceptionGroup("as trio does", [error])
"""

WITH_A_HOOK = f"import sys\nsys.excepthook = lambda *told: print('mine', file=sys.stderr)\n{FOREVER}"

IN_EXCEPT = """
import itertools
for step in itertools.count(1):
    try:
        trial.report(step, loss=1)
    except Exception:
        pass
"""

IN_A_THREAD_POOL = """
import itertools
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(1) as pool:
    for step in itertools.count(1):
        pool.submit(trial.report, step, loss=1).result()
"""


@pytest.mark.parametrize(
    "program",
    [FOREVER, IN_ASYNCIO, IN_TASKS, IN_A_TASK_GROUP, IN_A_GROUP, WITH_A_HOOK, IN_EXCEPT, IN_A_THREAD_POOL],
)
def test_at_its_pause_it_ends_by_itself_with_code_75_and_no_word(
    new: Callable[..., JobFiles], program: str
) -> None:
    files = new(until_step=3)
    done = files.run(files.script(program))
    assert (done.returncode, done.stderr) == (75, "")
    assert files.steps == [1, 2, 3]


def test_the_file_that_says_stop_ends_it_after_its_next_report(new: Callable[..., JobFiles]) -> None:
    files = new()
    stop = "trial.report(0, loss=1); (trial.checkpoint_dir.parent / 'stop').touch()\n"
    done = files.run(files.script(stop + FOREVER))
    assert (done.returncode, done.stderr, files.steps) == (75, "", [0, 1])


def test_a_program_that_catches_the_interruption_reports_nothing_more(new: Callable[..., JobFiles]) -> None:
    files = new(until_step=1)
    program = """
from metta.sweep import TrialInterrupted
for step in (1, 2):
    try:
        trial.report(step, loss=1)
    except TrialInterrupted as error:
        print(error)
"""
    assert files.run(files.script(program)).stdout == "the trial is to end here\n" * 2
    assert files.steps == [1]


def test_one_that_was_killed_between_its_last_report_and_its_end_ends_again(
    new: Callable[..., JobFiles],
) -> None:
    files = new(step=3, until_step=3)
    assert files.run(files.script("trial.report(2, loss=1)")).returncode == 75
    assert files.lines == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_lets_it_finish_its_step_and_report(
    new: Callable[..., JobFiles], number: signal.Signals
) -> None:
    files = new()
    program = "print('ready', flush=True)\ninput()\n" + FOREVER
    with files.started(files.script(program)) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        _, err = process.communicate("\n", timeout=LIMIT_S)
    assert (process.returncode, err, files.steps) == (75, "", [1])


def test_an_executor_stops_it_between_two_reports(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(f"{BEGIN}import time\n{FOREVER}    time.sleep(0.01)\n")
    attempt = Attempt(trial=3, params={"lr": 0.1}, seed=7, folder=str(tmp_path / "try-1"))
    work = jobs.Job(command=(jobs.PYTHON, str(program)))
    executor = LocalExecutor()
    request = executor.build_request(jobs.JobSpec(sweep_id="digits", job=work, attempt=attempt))
    reports = Reports(attempt)
    executor.submit(request)
    try:
        seen = wait_for(lambda: reports.read(0.0))
    finally:
        executor.stop(request)
        end = wait_for(lambda: executor.observe(request).end)
    assert (end.kind, end.code, executor.collect(request)) == ("cancelled", 75, "")
    steps = [event.step for event in [*seen, *reports.read(0.0)]]
    assert steps == list(range(1, len(steps) + 1))
    assert reports.garbage == 0


def test_a_signal_that_comes_while_it_exits_changes_nothing(new: Callable[..., JobFiles]) -> None:
    files = new()
    program = """
import os, signal
class Last:
    def __del__(self): kill(pid, number)
kill, pid, number, last = os.kill, os.getpid(), signal.SIGTERM, Last()
trial.report(1, loss=1)
"""
    assert files.run(files.script(program)).returncode == 0


def wait_for(look: Callable[[], SomeT | None]) -> SomeT:
    deadline = monotonic() + LIMIT_S
    while not (found := look()):
        assert monotonic() < deadline
        sleep(0.01)
    return found


def test_handlers_that_the_program_has_installed_are_called_too(new: Callable[..., JobFiles]) -> None:
    files = new()
    begin = """
import os, signal
signal.signal(signal.SIGTERM, lambda number, frame: print("saved", number, flush=True))
signal.signal(signal.SIGUSR2, signal.SIG_IGN)
from metta.sweep.trial import current_trial
for _ in range(2):
    trial = current_trial()
"""
    program = """
os.kill(os.getpid(), signal.SIGUSR2)
os.kill(os.getpid(), signal.SIGTERM)
trial.report(1, loss=1)
"""
    done = files.run(files.script(program, begin))
    assert (done.returncode, done.stdout, done.stderr) == (75, "saved 15\n", "")


def test_a_thread_may_be_the_first_to_ask_for_the_trial(new: Callable[..., JobFiles]) -> None:
    files = new()
    begin = """
from concurrent.futures import ThreadPoolExecutor
from metta.sweep.trial import current_trial
with ThreadPoolExecutor(1) as pool:
    trial = pool.submit(current_trial).result()
"""
    assert files.run(files.script("trial.report(1, loss=1)", begin)).returncode == 0
    assert files.steps == [1]


@pytest.mark.parametrize(
    ("raised", "kind", "message"),
    [
        ("metta.sweep.Infeasible('too deep')", "infeasible", "too deep"),
        ("metta.sweep.Infeasible()", "infeasible", "infeasible"),
        ("MemoryError('no room')", "oom", "MemoryError: no room"),
        ("OSError(28, 'No space left')", "infra", "OSError: [Errno 28] No space left"),
        ("ExceptionGroup('two', [ValueError(), metta.sweep.Infeasible('odd')])", "infeasible", "odd"),
    ],
)
def test_what_an_exit_code_cannot_tell_is_written_down(
    new: Callable[..., JobFiles], raised: str, kind: str, message: str
) -> None:
    files = new()
    done = files.run(files.script(f"import metta.sweep\nraise {raised}"))
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert files.lines == [{"attempt": 1, "seq": 0, "failure": {"kind": kind, "message": message}}]


def test_a_metric_that_is_none_is_a_failure_of_its_own_kind(new: Callable[..., JobFiles]) -> None:
    files = new()
    assert files.run(files.script("trial.report(1, loss=float('nan'))")).returncode == 1
    [line] = files.lines
    assert line["failure"] == {
        "kind": "bad_metric",
        "message": "metric 'loss' is nan; a metric has to be finite",
    }


def test_any_other_exception_is_told_by_the_exit_code_alone(new: Callable[..., JobFiles]) -> None:
    files = new()
    done = files.run(files.script("raise ValueError('shapes differ')"))
    assert (done.returncode, files.lines) == (1, [])
    assert "ValueError: shapes differ" in done.stderr


def test_a_report_that_meets_an_interruption_can_be_caught_by_its_name(
    here: Callable[..., job.Trial],
) -> None:
    told = here(until_step=1)
    with pytest.raises(TrialInterrupted):
        told.report(1, loss=1)


# --- what it needs ---


def test_a_program_needs_the_standard_library_alone() -> None:
    code = "import sys, metta.sweep.trial; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    bare = subprocess.check_output([sys.executable, "-c", "import sys; print(*sys.modules)"], text=True)
    names = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True).split()
    here = {name.partition(".")[0] for name in bare.split()}  # what this environment imports at each start
    assert set(names) - here - sys.stdlib_module_names == {"metta"}
    assert "asyncio" not in names


def test_what_is_stated_twice_is_the_same() -> None:
    for name in ("TRIAL_VARIABLE", "REPORTS_VARIABLE", "INTERRUPTED"):
        assert getattr(job, name) == getattr(jobs, name)
    assert job.CHECKPOINTS == trials.CHECKPOINTS
    assert job.STOP == protocol.STOP
    assert get_args(job.FailureKind) == get_args(failures.FailureKind)
    mine, theirs = job.Resources(), trials.Resources()
    assert (mine.cpu, mine.gpu, mine.memory_gib) == (theirs.cpu, theirs.gpu, theirs.memory_gib)
