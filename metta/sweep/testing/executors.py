"""What holds for every executor of jobs: each promise of ``JobExecutor`` is put to the test with real jobs.

A check is a function of a subject, which says how to make the executor, and where. With pytest::

    @pytest.mark.parametrize("check", executor_conformance)
    def test_it_keeps_the_promises_of_an_executor(check, tmp_path):
        check(ExecutorSubject(MyExecutor, folder=tmp_path, destroy=remove_by_hand))

The jobs are shell commands: where they run there has to be a POSIX shell, and the subject's folder.
"""

import json
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any, TypeAlias

from metta.sweep.contracts.attempts import Attempt
from metta.sweep.contracts.jobs import INTERRUPTED, Job, JobEnd, JobSpec, JobState
from metta.sweep.contracts.trials import Resources
from metta.sweep.executors.base import JobExecutor

POLL_S = 0.01
LOG_BYTES = 4096
HUGE_BYTES = 100_000_000

BEGUN = 'cd "$(dirname "$METTA_SWEEP_TRIAL")" && echo $$ >>begun && '
"""Goes before a command to tell how often it was begun."""

SUBMIT = """\
import os, signal, sys
from metta.sweep.contracts.components import ComponentSpec, create
from metta.sweep.contracts.jobs import JobSpec
from metta.sweep.executors.base import JobExecutor

executor = create(JobExecutor, ComponentSpec.model_validate_json(sys.argv[1]))
executor.submit(executor.build_request(JobSpec.model_validate_json(sys.argv[2])))
os.kill(os.getpid(), signal.SIGKILL)
"""
"""A program that submits a job, and is killed."""


@dataclass
class ExecutorSubject:
    """An executor under test, and jobs for it.

    Args:
        make: Makes an executor of the kind; a new one has to find the jobs of another one.
        folder: An empty folder of this test, which the jobs see under the same path.
        destroy: Lets a running job vanish as if its machine had died; None leaves those checks out.
        patience_s: So long what is to happen may take.
    """

    make: Callable[[], JobExecutor[Any]]
    folder: Path
    destroy: Callable[[JobExecutor[Any], JobSpec], None] | None = None
    patience_s: float = 30.0

    def spec(
        self,
        script: str,
        *,
        env: dict[str, str] | None = None,
        timeout_s: float | None = None,
        grace_s: float = 20.0,
        trial: int = 0,
    ) -> JobSpec:
        """What the executor is asked for: a job that is a shell script.

        Args:
            script: The script.
            env: Environment variables besides.
            timeout_s: Longest run.
            grace_s: So long it may take to end.
            trial: Number of its trial; other numbers are other jobs.
        """
        attempt = Attempt(
            trial=trial,
            params={"rate": 0.5, "name": "ü"},
            seed=7,
            folder=str(self.folder / f"trial-{trial}"),
            resources=Resources(cpu=1),
        )
        job = Job(command=("sh", "-c", script), env=env or {})
        return JobSpec(sweep_id="conformance", job=job, attempt=attempt, timeout_s=timeout_s, grace_s=grace_s)

    def submitted(self, spec: JobSpec) -> "Submitted":
        """Submit a job with an executor of its own."""
        submitted = Submitted(self, spec)
        submitted.submit()
        return submitted


class Submitted:
    """A job, each time seen by an executor that has never heard of it."""

    def __init__(self, subject: ExecutorSubject, spec: JobSpec) -> None:
        self._subject = subject
        self.spec = spec

    def submit(self) -> None:
        """Submit it."""
        executor = self._subject.make()
        executor.submit(executor.build_request(self.spec))

    def stop(self) -> None:
        """Let it end."""
        executor = self._subject.make()
        executor.stop(executor.build_request(self.spec))

    @property
    def state(self) -> JobState:
        """What becomes of it."""
        executor = self._subject.make()
        return executor.observe(executor.build_request(self.spec))

    @property
    def log(self) -> str:
        """The end of what it printed."""
        executor = self._subject.make()
        return executor.collect(executor.build_request(self.spec))

    @property
    def begun(self) -> int:
        """How often it was begun, if its script says so."""
        return len(_lines(Path(self.spec.attempt.folder, "begun")))

    def wait(self, is_over: Callable[[], object], what: str) -> None:
        """Wait until something is the case."""
        deadline = monotonic() + self._subject.patience_s
        while not is_over():
            assert monotonic() < deadline, f"waited {self._subject.patience_s} s for {what}; {self.state}"
            sleep(POLL_S)

    def wait_until_begun(self) -> None:
        """Wait until its script has said that it runs, and the executor knows."""
        self.wait(lambda: self.begun and self.state.status == "running", "the job's begin")

    def wait_for_end(self) -> JobEnd:
        """Wait until it has ended."""
        self.wait(lambda: self.state.status == "ended", "the job's end")
        end = self.state.end
        assert end is not None, "a job that has ended has an end"
        return end


Check: TypeAlias = Callable[[ExecutorSubject], None]


def requests_are_equal_and_change_nothing(subject: ExecutorSubject) -> None:
    """``build_request`` is pure."""
    spec = subject.spec("true")
    assert subject.make().build_request(spec) == subject.make().build_request(spec)
    assert subject.make().build_request(spec) != subject.make().build_request(subject.spec("true", trial=1))
    assert list(subject.folder.iterdir()) == []


def a_description_names_command_and_variables(subject: ExecutorSubject) -> None:
    """``describe`` is for people."""
    executor = subject.make()
    text = executor.describe(executor.build_request(subject.spec("echo nonesuch", env={"COLOUR": "blue"})))
    assert "echo nonesuch" in text
    assert "COLOUR" in text


def a_job_that_was_never_submitted_is_unknown(subject: ExecutorSubject) -> None:
    """Nothing is made up."""
    job = Submitted(subject, subject.spec("true"))
    assert job.state == JobState(status="unknown")
    assert job.log == ""


def exit_codes_are_told(subject: ExecutorSubject) -> None:
    """The executor tells how the process ended, and leaves the verdict to others."""
    for number, code in enumerate((0, 3, INTERRUPTED)):
        end = subject.submitted(subject.spec(f"exit {code}", trial=number)).wait_for_end()
        assert (end.code, end.signal, end.kind) == (code, None, None)


def a_job_is_told_its_trial(subject: ExecutorSubject) -> None:
    """The protocol's files, and the job's own variables."""
    script = BEGUN + 'cp "$METTA_SWEEP_TRIAL" told && echo "$COLOUR" >>"$METTA_SWEEP_REPORTS"'
    job = subject.submitted(subject.spec(script, env={"COLOUR": "blue"}))
    assert job.wait_for_end().code == 0
    folder = Path(job.spec.attempt.folder)
    told = json.loads((folder / "told").read_bytes())
    assert told["params"] == job.spec.attempt.params
    assert (told["sweep"], told["number"], told["segment"], told["attempt"]) == ("conformance", 0, 0, 1)
    assert Path(told["reports"]).read_text() == "blue\n"
    assert (told["seed"], told["folder"]) == (7, str(folder))


def submitted_twice_it_runs_once(subject: ExecutorSubject) -> None:
    """While it runs and after it has ended."""
    job = subject.submitted(subject.spec(BEGUN + "sleep 0.3"))
    job.submit()
    job.wait_until_begun()
    job.submit()
    end = job.wait_for_end()
    job.submit()
    sleep(0.3)
    assert (job.begun, job.state.end) == (1, end)


def submitted_by_many_at_once_it_runs_once(subject: ExecutorSubject) -> None:
    """Whoever comes second finds the job of the first."""
    job = Submitted(subject, subject.spec(BEGUN + "sleep 0.3"))
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(job.submit) for _ in range(8)]:
            done.result()
    assert job.state.status != "unknown"
    assert job.wait_for_end().code == 0
    sleep(0.3)  # others may be slower
    assert job.begun == 1


def it_outlives_whoever_submitted_it(subject: ExecutorSubject) -> None:
    """Another process finds the job of one that was killed."""
    job = Submitted(subject, subject.spec(BEGUN + "until [ -e gate ]; do sleep 0.02; done; exit 3"))
    arguments = [subject.make().spec().model_dump_json(), job.spec.model_dump_json()]
    program = f"import sys; sys.path[:0] = {sys.path!r}\n{SUBMIT}"
    command = [sys.executable, "-c", program, *arguments]
    submitter = subprocess.run(command, start_new_session=True, check=False)
    assert submitter.returncode == -signal.SIGKILL
    job.wait_until_begun()
    job.submit()
    Path(job.spec.attempt.folder, "gate").touch()
    assert job.wait_for_end().code == 3
    assert job.begun == 1


def told_to_end_it_ends_politely(subject: ExecutorSubject) -> None:
    """It gets SIGTERM, and its grace to write a checkpoint."""
    script = BEGUN + f"trap 'echo saved; exit {INTERRUPTED}' TERM; echo ready; while :; do sleep 0.02; done"
    job = subject.submitted(subject.spec(script))
    job.wait(lambda: "ready" in job.log, "its trap")
    job.stop()
    job.stop()
    end = job.wait_for_end()
    assert (end.code, end.kind) == (INTERRUPTED, "cancelled")
    assert "saved" in job.log
    job.stop()
    assert job.state.end == end


def deaf_to_that_it_is_killed(subject: ExecutorSubject) -> None:
    """Whoever ignores SIGTERM has its grace and no more."""
    script = BEGUN + "trap '' TERM; echo ready; while :; do sleep 0.02; done"
    job = subject.submitted(subject.spec(script, grace_s=0.5))
    job.wait(lambda: "ready" in job.log, "its trap")
    job.stop()
    assert job.wait_for_end().kind == "cancelled"


def told_to_end_before_it_was_submitted_it_never_begins(subject: ExecutorSubject) -> None:
    """A stop that overtakes the submit is not lost."""
    job = Submitted(subject, subject.spec(BEGUN + "true"))
    job.stop()
    assert job.state.status == "unknown"
    job.submit()
    assert job.wait_for_end().kind == "cancelled"
    assert job.begun == 0


def told_to_end_after_its_end_it_stays_as_it_was(subject: ExecutorSubject) -> None:
    """A stop that comes too late changes nothing."""
    job = subject.submitted(subject.spec("exit 3"))
    end = job.wait_for_end()
    job.stop()
    job.submit()
    assert job.state.end == end


def out_of_time_it_is_ended(subject: ExecutorSubject) -> None:
    """The time limit is the executor's, whoever is away meanwhile."""
    for number, trap in enumerate(("", "trap '' TERM; ")):
        script = f"{BEGUN}{trap}while :; do sleep 0.02; done"
        job = subject.submitted(subject.spec(script, trial=number, timeout_s=0.5, grace_s=0.3))
        assert job.wait_for_end().kind == "timeout"


def a_program_that_is_not_there_is_named(subject: ExecutorSubject) -> None:
    """The message says what is wrong with the command; retries are left to its policy."""
    spec = subject.spec("true")
    missing = spec.model_copy(update={"job": Job(command=("no-such-program-anywhere", "--fast"))})
    end = subject.submitted(missing).wait_for_end()
    assert end.code != 0
    assert end.kind in (None, "user")
    assert "no-such-program-anywhere" in end.message


def a_job_that_vanishes_is_lost(subject: ExecutorSubject) -> None:
    """It is not awaited for ever, and not begun again under the same name."""
    if subject.destroy is None:
        return
    job = subject.submitted(subject.spec(BEGUN + "sleep 1000"))
    job.wait_until_begun()
    subject.destroy(subject.make(), job.spec)
    end = job.wait_for_end()
    assert end.kind == "lost"
    assert end.message
    job.submit()
    sleep(0.3)
    assert (job.begun, job.state.status) == (1, "ended")


def of_a_huge_line_only_the_end_is_collected(subject: ExecutorSubject) -> None:
    """A log may be larger than the memory."""
    script = f"head -c {HUGE_BYTES} /dev/zero | tr '\\0' x; printf end"
    job = subject.submitted(subject.spec(script))
    assert job.wait_for_end().code == 0
    tracemalloc.start()
    try:
        log = job.log
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert log.endswith("xxxend")
    assert len(log) <= LOG_BYTES
    assert peak < HUGE_BYTES / 10


def bytes_that_are_no_text_are_collected(subject: ExecutorSubject) -> None:
    """Binary output, and characters cut in two."""
    for number, end in enumerate(("", "x", "xx")):  # one of them cuts a character of three bytes
        script = (
            f"i=0; while [ $i -lt 2000 ]; do printf '\\342\\202\\254'; i=$((i+1)); done; printf '\\377{end}'"
        )
        job = subject.submitted(subject.spec(script, trial=number))
        assert job.wait_for_end().code == 0
        assert job.log.endswith(f"€€\N{REPLACEMENT CHARACTER}{end}")


def what_is_printed_to_both_streams_is_collected(subject: ExecutorSubject) -> None:
    """Also of a job that fails, and while it runs."""
    job = subject.submitted(
        subject.spec(BEGUN + "echo out; echo err >&2; until [ -e gate ]; do sleep 0.02; done; exit 1")
    )
    job.wait(lambda: "out\n" in job.log and "err\n" in job.log, "its output")
    Path(job.spec.attempt.folder, "gate").touch()
    assert job.wait_for_end().code == 1
    assert job.log == "out\nerr\n"


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


executor_conformance: tuple[Check, ...] = (
    requests_are_equal_and_change_nothing,
    a_description_names_command_and_variables,
    a_job_that_was_never_submitted_is_unknown,
    exit_codes_are_told,
    a_job_is_told_its_trial,
    submitted_twice_it_runs_once,
    submitted_by_many_at_once_it_runs_once,
    it_outlives_whoever_submitted_it,
    told_to_end_it_ends_politely,
    deaf_to_that_it_is_killed,
    told_to_end_before_it_was_submitted_it_never_begins,
    told_to_end_after_its_end_it_stays_as_it_was,
    out_of_time_it_is_ended,
    a_program_that_is_not_there_is_named,
    a_job_that_vanishes_is_lost,
    of_a_huge_line_only_the_end_is_collected,
    bytes_that_are_no_text_are_collected,
    what_is_printed_to_both_streams_is_collected,
)
"""Every check; each takes a subject of its own, and raises ``AssertionError`` where a promise is not kept."""
