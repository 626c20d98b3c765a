"""The checks of executors: each kind of broken promise is found."""

from pathlib import Path
from shutil import rmtree

import pytest

from metta.sweep.contracts.jobs import JobEnd, JobSpec, JobState
from metta.sweep.executors.local import LocalExecutor, LocalRequest
from metta.sweep.testing import ExecutorSubject
from metta.sweep.testing import executors as checks
from tests.executors.jobs import kill_supervisor


class Eager(LocalExecutor):
    """Begins a job each time it is submitted."""

    def submit(self, request: LocalRequest) -> None:
        rmtree(request.path("claim"), ignore_errors=True)
        request.path("exit.json").unlink(missing_ok=True)
        super().submit(request)


class Forgetful(LocalExecutor):
    """Forgets a job as soon as it has begun."""

    def submit(self, request: LocalRequest) -> None:
        super().submit(request)
        rmtree(request.path("claim"), ignore_errors=True)


class Deaf(LocalExecutor):
    """Lets nobody end a job."""

    def stop(self, request: LocalRequest) -> None:
        return


class Timeless(LocalExecutor):
    """Knows no limits."""

    def build_request(self, spec: JobSpec) -> LocalRequest:
        return super().build_request(spec.model_copy(update={"timeout_s": None}))


class Faithful(LocalExecutor):
    """Believes that what has begun goes on."""

    def observe(self, request: LocalRequest) -> JobState:
        state = super().observe(request)
        is_lost = state.end is not None and state.end.kind == "lost"
        return JobState(status="running") if is_lost else state


class Optimistic(LocalExecutor):
    """Takes every end for a good one."""

    def observe(self, request: LocalRequest) -> JobState:
        state = super().observe(request)
        return state if state.end is None else JobState(status="ended", end=JobEnd(code=0))


class Greedy(LocalExecutor):
    """Reads whole logs, and is strict with them."""

    def collect(self, request: LocalRequest) -> str:
        path = request.path("log.txt")
        return path.read_text() if path.exists() else ""


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (Eager, checks.submitted_twice_it_runs_once),
        (Forgetful, checks.submitted_by_many_at_once_it_runs_once),
        (Deaf, checks.told_to_end_it_ends_politely),
        (Deaf, checks.told_to_end_before_it_was_submitted_it_never_begins),
        (Timeless, checks.out_of_time_it_is_ended),
        (Faithful, checks.a_job_that_vanishes_is_lost),
        (Optimistic, checks.exit_codes_are_told),
        (Optimistic, checks.a_program_that_is_not_there_is_named),
        (Greedy, checks.of_a_huge_line_only_the_end_is_collected),
        (Greedy, checks.bytes_that_are_no_text_are_collected),
    ],
)
def test_a_broken_promise_is_found(broken: type[LocalExecutor], check: checks.Check, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, UnicodeDecodeError, OSError)):
        check(ExecutorSubject(broken, tmp_path, destroy=kill_supervisor, patience_s=1.5))


def test_every_check_of_the_module_is_in_the_suite() -> None:
    found = {
        value
        for name, value in vars(checks).items()
        if callable(value) and getattr(value, "__module__", "") == checks.__name__ and name[0].islower()
    }
    assert found == set(checks.executor_conformance)
