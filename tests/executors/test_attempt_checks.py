"""The checks of whoever runs attempts: each kind of broken promise is found, on a real server."""

import inspect
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from metta.sweep.activities import trials
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.attempts import Attempt
from metta.sweep.contracts.events import AttemptEnded, Stopped
from metta.sweep.contracts.jobs import JobSpec, JobState
from metta.sweep.executors.local import LocalExecutor, LocalRequest
from metta.sweep.testing import AttemptRunner, AttemptSubject, TrialWorkflows
from metta.sweep.testing import attempts as checks
from metta.sweep.testing.behaviours import BEHAVIOURS
from tests.executors.test_attempt_conformance import kill_supervisor
from tests.executors.test_conformance_checks import Deaf, Faithful, Greedy, Optimistic, Timeless
from tests.rig import Rig
from tests.workflows.faults import brisk


class Wordless(LocalExecutor):
    """Shows nobody what a job has printed."""

    def collect(self, request: LocalRequest) -> str:
        return ""


class Lossy(LocalExecutor):
    """Loses what a job reports."""

    def observe(self, request: LocalRequest) -> JobState:
        request.path("reports.jsonl").unlink(missing_ok=True)
        return super().observe(request)


class Amnesic(LocalExecutor):
    """Tells a job nothing of where it goes on, and where it pauses."""

    def build_request(self, spec: JobSpec) -> LocalRequest:
        attempt = spec.attempt.model_copy(update={"resume_from": None, "until_step": None, "seed": 0})
        return super().build_request(spec.model_copy(update={"attempt": attempt}))


class Twofold(AttemptRunner):
    """Begins an attempt as often as it has runners."""

    def __init__(self, *runners: AttemptRunner) -> None:
        self._runners = runners

    async def start(self, behaviour: str, attempt: Attempt, timeout_s: float | None = None) -> None:
        for number, runner in enumerate(self._runners):
            apart = {"folder": f"{attempt.folder}/{number}"} if number else {}
            await runner.start(behaviour, attempt.model_copy(update=apart), timeout_s)

    async def stop(self, attempt: Attempt) -> None:
        for runner in self._runners:
            await runner.stop(attempt)

    async def end(self, attempt: Attempt) -> AttemptEnded:
        return await self._runners[0].end(attempt)


class Fickle(Twofold):
    """Believes that what was told to end has ended so; and tells it only what has begun."""

    def __init__(self, *runners: AttemptRunner) -> None:
        super().__init__(*runners)
        self._is_stopped = False

    async def stop(self, attempt: Attempt) -> None:
        self._is_stopped = True

    async def end(self, attempt: Attempt) -> AttemptEnded:
        end = await super().end(attempt)
        return Stopped(at=end.at, **attempt.key._asdict()) if self._is_stopped else end


@pytest.fixture
async def rig(server: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    monkeypatch.setattr(trials, "GRACE_S", 0.5)
    (tmp_path / "attempts").mkdir()
    async with brisk(server, tmp_path / "rig") as made:
        yield made


def runner_of(rig: Rig, executor: type[LocalExecutor]) -> TrialWorkflows:
    return TrialWorkflows(rig.client, rig.queue, {"type": f"{executor.__module__}:{executor.__name__}"})


async def is_found(runner: AttemptRunner, check: checks.AttemptCheck, rig: Rig) -> None:
    folder = rig.folder.with_name("attempts")
    with pytest.raises((AssertionError, TimeoutError)):
        await check(AttemptSubject(runner, folder, kill_supervisor, patience_s=6))


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (Amnesic, checks.it_is_told_all_of_its_trial),
        (Lossy, checks.its_result_and_its_reports_are_told),
        (Amnesic, checks.it_pauses_at_the_step_that_it_was_told),
        (Amnesic, checks.it_goes_on_from_its_checkpoint),
        (Deaf, checks.told_to_end_it_is_interrupted),
        (Deaf, checks.deaf_to_that_it_is_killed_with_all_that_it_started),
        (Timeless, checks.out_of_time_it_is_ended),
        (Optimistic, checks.failures_are_told_by_kind),
        (Wordless, checks.what_it_printed_is_evidence),
        (Wordless, checks.of_a_huge_line_the_end_is_evidence),
        (Greedy, checks.bytes_that_are_no_text_are_evidence),
        (Faithful, checks.when_its_machine_dies_it_is_lost_or_goes_on_from_its_checkpoint),
    ],
)
async def test_a_broken_executor_is_found(
    broken: type[LocalExecutor], check: checks.AttemptCheck, rig: Rig
) -> None:
    await is_found(runner_of(rig, broken), check, rig)


async def test_whoever_begins_an_attempt_twice_is_found(rig: Rig) -> None:
    runner = Twofold(runner_of(rig, LocalExecutor), runner_of(rig, LocalExecutor))
    await is_found(runner, checks.ordered_by_many_it_begins_once, rig)


@pytest.mark.parametrize(
    "check",
    [
        checks.told_to_end_before_its_start_it_never_begins,
        checks.told_to_end_after_its_end_it_stays_as_it_was,
    ],
)
async def test_whoever_stops_what_does_not_run_is_found(check: checks.AttemptCheck, rig: Rig) -> None:
    await is_found(Fickle(runner_of(rig, LocalExecutor)), check, rig)


def test_every_check_of_the_module_is_in_the_suite() -> None:
    found = {
        value for name, value in vars(checks).items() if inspect.iscoroutinefunction(value) and name[0] != "_"
    }
    assert found == set(checks.attempt_conformance)


def test_every_behaviour_is_used_by_a_check() -> None:
    source = inspect.getsource(checks)
    assert [name for name in BEHAVIOURS if f'"{name}"' not in source] == []
