"""What holds wherever attempts run: as jobs, or as Python objectives on workers.

Where ``executor_conformance`` tests what an executor of jobs promises to those who call it, these checks
test what all executors promise to those who run trials. A check is a coroutine function of a subject, which
says by whom attempts are run. With pytest, and pytest-asyncio::

    @pytest.mark.parametrize("check", attempt_conformance)
    async def test_it_keeps_the_promises_of_all_executors(check, client, tmp_path):
        runner = TrialWorkflows(client, "my-queue", {"type": "my_package:MyExecutor"})
        await check(AttemptSubject(runner, folder=tmp_path))

The attempts behave as ``metta.sweep.testing.behaviours`` says: where they run, that has to be installed.
"""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, TypeAlias

from metta.sweep.contracts.attempts import Attempt
from metta.sweep.contracts.events import AttemptEnded, Completed, Failed, SegmentEnded, Stopped
from metta.sweep.contracts.failures import EVIDENCE_CHARS
from metta.sweep.contracts.trials import Resources
from metta.sweep.executors.reports import Reports
from metta.sweep.testing.behaviours import STEPS

POLL_S = 0.02
QUIET_S = 0.5
"""What still runs shows by then."""


class AttemptRunner(ABC):
    """Runs attempts that behave in a certain way; the port between the checks and an executor.

    A trace: ``start("endless", attempt)``, ``stop(attempt)``, ``end(attempt)`` gives ``Stopped``.
    """

    @abstractmethod
    async def start(self, behaviour: str, attempt: Attempt, timeout_s: float | None = None) -> None:
        """Let an attempt begin, unless it has before.

        Args:
            behaviour: Its name in ``metta.sweep.testing.behaviours.BEHAVIOURS``.
            attempt: The attempt.
            timeout_s: Longest run in seconds.
        """

    @abstractmethod
    async def stop(self, attempt: Attempt) -> None:
        """Let an attempt end; one that was not started yet never begins, and one that is over stays so."""

    @abstractmethod
    async def end(self, attempt: Attempt) -> AttemptEnded:
        """How an attempt has ended, once it has."""


@dataclass
class AttemptSubject:
    """Whoever runs attempts is put to the test, and what they are asked for.

    Args:
        runner: Runs them.
        folder: An empty folder of this test, which the attempts see under the same path.
        destroy: Lets what runs an attempt vanish as if its machine had died; None leaves that check out.
        patience_s: So long what is to happen may take; more than the grace of what is told to end.
    """

    runner: AttemptRunner
    folder: Path
    destroy: Callable[[Attempt], Awaitable[None]] | None = None
    patience_s: float = 60.0

    def begun(
        self, behaviour: str, trial: int = 0, *, timeout_s: float | None = None, **more: Any
    ) -> "Begun":
        """An attempt that is to begin, and its test's own folder.

        Args:
            behaviour: What it does.
            trial: Its number: another one is another attempt.
            timeout_s: Longest run in seconds.
            **more: What else its ``Attempt`` says; ``held`` is a parameter.
        """
        shared = self.folder / f"shared-{trial}"
        shared.mkdir(exist_ok=True)
        params = {"rate": 0.5, "name": "ü", "shared": str(shared), "held": more.pop("held", False)}
        attempt = Attempt(
            trial=trial,
            params=params,
            seed=7,
            folder=str(self.folder / f"trial-{trial}"),
            resources=Resources(cpu=1),
            **more,
        )
        return Begun(self, behaviour, attempt, shared, timeout_s)


@dataclass
class Begun:
    """An attempt of a check."""

    subject: AttemptSubject
    behaviour: str
    attempt: Attempt
    shared: Path
    timeout_s: float | None

    async def start(self) -> "Begun":
        """Let it begin."""
        await self.subject.runner.start(self.behaviour, self.attempt, self.timeout_s)
        return self

    async def stop(self) -> None:
        """Let it end."""
        await self.subject.runner.stop(self.attempt)

    async def end(self) -> AttemptEnded:
        """How it has ended, once it has."""
        async with asyncio.timeout(self.subject.patience_s):
            return await self.subject.runner.end(self.attempt)

    async def failure(self) -> Failed:
        """How it has failed."""
        end = await self.end()
        assert isinstance(end, Failed), f"{self.behaviour} has to fail, and ended as {end}"
        return end

    def noted(self, name: str) -> list[str]:
        """Lines that it has written into a file of the test."""
        file = self.shared / name
        return file.read_text("utf-8").splitlines() if file.exists() else []

    @property
    def reports(self) -> dict[int, str | None]:
        """Its reported steps, each with the checkpoint."""
        return {event.step: event.checkpoint for event in Reports(self.attempt).read(0.0)}

    def open_gate(self) -> None:
        """Let it go on."""
        (self.shared / "gate").touch()

    async def until(self, is_so: Callable[[], object], what: str) -> None:
        """Wait until something is the case."""
        deadline = monotonic() + self.subject.patience_s
        while not is_so():
            assert monotonic() < deadline, f"waited {self.subject.patience_s} s for {what}"
            await asyncio.sleep(POLL_S)


AttemptCheck: TypeAlias = Callable[[AttemptSubject], Awaitable[None]]


async def it_is_told_all_of_its_trial(subject: AttemptSubject) -> None:
    """Parameters, numbers, seed, resources, and a folder of its own."""
    run = await subject.begun("told", trial=3, attempt=2).start()
    end = await run.end()
    told = json.loads((run.shared / "told").read_text("utf-8"))
    assert told == {
        "params": run.attempt.params,
        "number": 3,
        "seed": 7,
        "attempt": 2,
        "cpu": 1.0,
        "folder": run.attempt.folder,
    }
    assert (end.trial, end.segment, end.attempt) == (3, 0, 2)


async def its_result_and_its_reports_are_told(subject: AttemptSubject) -> None:
    """Reports are in the attempt's folder, and the checkpoints that they name are there."""
    run = await subject.begun("climbing").start()
    end = await run.end()
    assert isinstance(end, Completed), f"it has to complete, and ended as {end}"
    assert (end.metrics, end.seconds > 0) == ({"loss": 0.125}, True)
    assert list(run.reports) == [1, 2, 3]
    assert [Path(path or "").read_text("utf-8") for path in run.reports.values()] == ["1", "2", "3"]


async def ordered_by_many_it_begins_once(subject: AttemptSubject) -> None:
    """At the same moment, while it runs, and after its end."""
    run = subject.begun("gated")
    await asyncio.gather(*(run.start() for _ in range(8)))
    await run.until(lambda: run.noted("begun"), "its begin")
    await run.start()
    await asyncio.sleep(QUIET_S)
    run.open_gate()
    end = await run.end()
    await run.start()
    await asyncio.sleep(QUIET_S)
    assert await run.end() == end
    assert run.noted("begun") == ["0"]


async def it_pauses_at_the_step_that_it_was_told(subject: AttemptSubject) -> None:
    """What it would do after that is not done."""
    run = await subject.begun("climbing", until_step=2).start()
    end = await run.end()
    assert isinstance(end, SegmentEnded), f"it has to pause, and ended as {end}"
    assert (end.step, list(run.reports)) == (2, [1, 2])
    assert end.checkpoint == run.reports[2]


async def it_goes_on_from_its_checkpoint(subject: AttemptSubject) -> None:
    """In another segment, with the number and seed that it had."""
    checkpoint = subject.folder / "checkpoint"
    checkpoint.write_text("2", "utf-8")
    run = subject.begun("climbing", segment=1, step=2, resume_from=str(checkpoint))
    end = await (await run.start()).end()
    assert isinstance(end, Completed), f"it has to complete, and ended as {end}"
    assert (run.noted("begun"), list(run.reports)) == (["2"], [3])
    assert (end.segment, end.attempt) == (1, 1)


async def told_to_end_it_is_interrupted(subject: AttemptSubject) -> None:
    """It ends at a report, by itself, with a checkpoint of the last step."""
    run = await subject.begun("endless").start()
    await run.until(lambda: len(run.reports) > 1, "its reports")
    await run.stop()
    await run.stop()
    end = await run.end()
    assert isinstance(end, Stopped), f"it has to be stopped, and ended as {end}"
    assert (len(run.noted("begun")), len(run.noted("left"))) == (1, 1), "it was killed"
    last = max(run.reports)
    assert Path(run.reports[last] or "").read_text("utf-8") == str(last)


async def deaf_to_that_it_is_killed_with_all_that_it_started(subject: AttemptSubject) -> None:
    """It has its grace and no more."""
    run = await subject.begun("deaf").start()
    await run.until(lambda: run.noted("ticks"), "what it starts")
    await run.stop()
    end = await run.end()
    assert isinstance(end, Stopped), f"it has to be stopped, and ended as {end}"
    await _stands_still(run)


async def told_to_end_before_its_start_it_never_begins(subject: AttemptSubject) -> None:
    """A stop that overtakes the start is not lost."""
    run = subject.begun("endless")
    await run.stop()
    await run.start()
    end = await run.end()
    await asyncio.sleep(QUIET_S)
    assert isinstance(end, Stopped), f"it has to be stopped, and ended as {end}"
    assert run.noted("begun") == []


async def told_to_end_after_its_end_it_stays_as_it_was(subject: AttemptSubject) -> None:
    """A stop that comes too late changes nothing."""
    run = await subject.begun("climbing").start()
    end = await run.end()
    await run.stop()
    assert await run.end() == end
    assert isinstance(end, Completed), f"it has to complete, and ended as {end}"


async def out_of_time_it_is_ended(subject: AttemptSubject) -> None:
    """Whether it listens or not."""
    runs = [
        await subject.begun(name, trial, timeout_s=1.0).start() for trial, name in enumerate(LONG_RUNNING)
    ]
    for run in runs:
        assert (await run.failure()).failure.kind == "timeout"
    await _stands_still(runs[-1])


LONG_RUNNING = ("endless", "deaf")


async def failures_are_told_by_kind(subject: AttemptSubject) -> None:
    """What it raises, reports or dies of."""
    runs = [await subject.begun(name, trial).start() for trial, (name, _, _) in enumerate(FAILURES)]
    for run, (name, kind, words) in zip(runs, FAILURES, strict=True):
        failure = (await run.failure()).failure
        assert failure.kind == kind, f"{name} has to fail as {kind}, and failed as {failure}"
        assert words in f"{failure.message}\n{failure.traceback}"


FAILURES = (
    ("failing", "user", "no luck today"),
    ("infeasible", "infeasible", "the rate is too small"),
    ("not_a_number", "bad_metric", "loss"),
    ("silent", "no_result", "reported"),
    ("out_of_memory", "oom", "MemoryError"),
    ("crashing", "user", "signal 11"),
    ("killed", "infra", "SIGKILL"),
    ("wordy", "user", "code 3"),
)
"""Behaviours, the kinds of their failures, and words of their messages."""


async def what_it_printed_is_evidence(subject: AttemptSubject) -> None:
    """Of both streams, in order."""
    run = await subject.begun("wordy").start()
    assert (await run.failure()).failure.traceback.endswith("out\nerr\n")


async def of_a_huge_line_the_end_is_evidence(subject: AttemptSubject) -> None:
    """A log may be larger than any message."""
    run = await subject.begun("huge").start()
    evidence = (await run.failure()).failure.traceback
    assert evidence.endswith("xxxend")
    assert len(evidence) <= EVIDENCE_CHARS


async def bytes_that_are_no_text_are_evidence(subject: AttemptSubject) -> None:
    """Binary output, and characters cut in two."""
    runs = [await subject.begun("garbled", trial).start() for trial in range(3)]
    for run in runs:  # one of them cuts a character of three bytes
        end = f"€€\N{REPLACEMENT CHARACTER}{'x' * run.attempt.trial}"
        assert (await run.failure()).failure.traceback.endswith(end)


async def when_its_machine_dies_it_is_lost_or_goes_on_from_its_checkpoint(subject: AttemptSubject) -> None:
    """It is not awaited for ever, and nothing that was reported is done again."""
    if subject.destroy is None:
        return
    run = await subject.begun("climbing", held=True).start()
    await run.until(lambda: len(run.reports) == STEPS - 1, "its reports")
    await subject.destroy(run.attempt)
    run.open_gate()
    end = await run.end()
    if isinstance(end, Failed):
        assert end.failure.kind in ("lost", "infra")
        assert end.failure.message
        assert run.noted("begun") == ["0"]
    else:
        assert isinstance(end, Completed), f"it has to be lost or to complete, and ended as {end}"
        assert run.noted("begun") == ["0", f"{STEPS - 1}"]
        assert list(run.reports) == [1, 2, 3]
    assert len(run.noted("left")) == len(run.noted("begun")) - 1, "what died went on"


async def _stands_still(run: Begun) -> None:
    """Nothing that it has started runs any more."""
    before = len(run.noted("ticks"))
    await asyncio.sleep(QUIET_S)
    assert len(run.noted("ticks")) == before, "what it has started runs on"
    assert run.noted("left") == [], "it has ended by itself"


attempt_conformance: tuple[AttemptCheck, ...] = (
    it_is_told_all_of_its_trial,
    its_result_and_its_reports_are_told,
    ordered_by_many_it_begins_once,
    it_pauses_at_the_step_that_it_was_told,
    it_goes_on_from_its_checkpoint,
    told_to_end_it_is_interrupted,
    deaf_to_that_it_is_killed_with_all_that_it_started,
    told_to_end_before_its_start_it_never_begins,
    told_to_end_after_its_end_it_stays_as_it_was,
    out_of_time_it_is_ended,
    failures_are_told_by_kind,
    what_it_printed_is_evidence,
    of_a_huge_line_the_end_is_evidence,
    bytes_that_are_no_text_are_evidence,
    when_its_machine_dies_it_is_lost_or_goes_on_from_its_checkpoint,
)
"""Every check; each takes a subject of its own, and raises ``AssertionError`` where a promise is not kept."""
