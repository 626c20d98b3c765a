"""The activity `run_trial`: lets an attempt run as a job, and attends it to its end.

The job does not need it: when a worker ends, the job goes on, and the next try of the activity attends it.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from time import time
from typing import Any, TypeVar

from temporalio import activity
from temporalio.exceptions import ApplicationError

from metta.sweep.activities.attending import Teller, attended, failed_trial, news_of, unusable
from metta.sweep.activities.folders import take_folder
from metta.sweep.activities.places import Place, patiently
from metta.sweep.contracts.activities import RUN_TRIAL
from metta.sweep.contracts.advances import TrialNews, TrialOrder
from metta.sweep.contracts.attempts import Attempt, Code
from metta.sweep.contracts.components import create
from metta.sweep.contracts.consent import check_definition, consenting
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.events import Failed
from metta.sweep.contracts.jobs import TRACE_VARIABLE, Job, JobEnd, JobSpec
from metta.sweep.executors.base import Executor, JobExecutor
from metta.sweep.executors.reports import Reports
from metta.sweep.executors.transcripts import Transcript
from metta.sweep.executors.verdicts import verdict
from metta.sweep.stores.base import Store
from metta.sweep.telemetry.tracing import traceparent

T = TypeVar("T")

FIRST_LOOK_S, LOOK_S = 0.02, 1.0
"""So soon after it began, and later on so often, it is looked what a job does."""

ELSEWHERE = JobEnd(kind="lost", message="it began on another machine, of whose worker nothing is heard")

GRACE_S = 30.0
"""So long a job that is told to end may take to write a checkpoint, before it is killed."""


class TrialRuns:
    """The trials that one worker attends.

    Args:
        store: Where sweeps are recorded.
        code: How the program that defined the sweeps was started.
    """

    def __init__(self, store: Store, code: Code) -> None:
        self._store, self._code = store, code

    @property
    def all(self) -> list[Any]:
        """All activities, for a worker."""
        return [self.run_trial]

    @activity.defn(name=RUN_TRIAL.name)
    async def run_trial(self, order: TrialOrder) -> TrialNews:
        """Let an attempt run, unless it has begun before, and attend it to its end.

        Raises:
            ApplicationError: When it failed; its details are the news.
        """
        try:
            place = Place(self._store.workplace(order.sweep_id), order.attempt)
            with consenting(self._code.consent):
                run = JobRun(order, self._spec(order, place.attempt), place)
            running = asyncio.create_task(run.news())
            try:
                news = await attended(running, run.stop, "the job goes on, and another worker attends it")
            finally:
                running.cancel()
        except DefinitionError as error:  # it can never run
            news = news_of(order.attempt.key, 0, unusable(order.attempt, error))
        if isinstance(news.end, Failed):
            raise failed_trial(news, news.end.failure)
        return news

    def _spec(self, order: TrialOrder, attempt: Attempt) -> JobSpec:
        if not isinstance(order.objective, Job):
            problem = f"only local processes and workers run Python functions, got {order.objective}"
            raise DefinitionError([problem], "the objective")
        check_definition([], order.objective.command, "the objective")
        env, parent = order.objective.env, traceparent()
        if parent:  # spans of the job are children of its attempt's
            env = {TRACE_VARIABLE: parent, **env}
        job = order.objective.model_copy(update={"cwd": order.objective.cwd or self._code.cwd, "env": env})
        return JobSpec(
            sweep_id=order.sweep_id,
            job=job,
            attempt=attempt,
            timeout_s=order.timeout_s,
            grace_s=GRACE_S,
            ledger_id=order.ledger_id,
        )


class JobRun:
    """A job that this try of the activity looks after.

    Args:
        order: What is run.
        spec: The job.
        place: Where it works.

    Raises:
        DefinitionError: When its executor runs no jobs.
    """

    def __init__(self, order: TrialOrder, spec: JobSpec, place: Place) -> None:
        executor = create(Executor, order.executor)
        if not isinstance(executor, JobExecutor):
            raise DefinitionError([f"{type(executor).__name__} runs no jobs"], "the executor")
        self._executor: JobExecutor[Any] = executor
        self._request = executor.build_request(spec)
        self._order, self._attempt, self._place = order, spec.attempt, place
        self._reports, self._transcript = Reports(spec.attempt), Transcript(spec.attempt)
        self._teller = Teller(order, place)
        self._is_unwanted = asyncio.Event()
        self._was_unwanted, self._was_missed = order.is_unwanted, False

    def stop(self) -> None:
        """Let the job end."""
        self._is_unwanted.set()

    async def news(self) -> TrialNews:
        """Submit it, and look after it to its end.

        Raises:
            OSError: When it cannot be submitted for now.
        """
        if not await patiently(self._place.begin):
            return await self._ended(ELSEWHERE)
        # one that nobody wants is found where it runs, and never begins where it does not
        end = await (self._revoke() if self._was_unwanted else self._submit())
        look_s = FIRST_LOOK_S
        while end is None and (end := await self._seen()) is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(look_s):
                    await self._is_unwanted.wait()
            if self._is_unwanted.is_set():
                await self._stop()
            look_s = min(LOOK_S, look_s * 1.3)
        return await self._ended(end)

    async def _stop(self) -> None:
        try:
            await self._do(self._executor.stop)
        except OSError as error:  # at the next look
            activity.logger.info("%s cannot be stopped for now: %s", self._request, error)
        else:
            self._is_unwanted.clear()

    async def _seen(self) -> JobEnd | None:
        """How it ended; None while it goes on. Meanwhile it is told what it reports."""
        try:
            state = await self._do(self._executor.observe)
        except OSError as error:  # it says nothing of the job
            activity.logger.info("%s cannot be observed for now: %s", self._request, error)
            return None
        if state.status == "unknown":
            return await self._missed()
        if state.end is None:
            await self._go_on()
        return state.end

    async def _missed(self) -> JobEnd | None:
        """Nobody knows of the job: it never began, or what is known of it was deleted."""
        if self._was_unwanted:
            return JobEnd(kind="cancelled")
        if self._was_missed:
            return JobEnd(kind="lost", message="it was submitted twice, and nothing is known of it")
        self._was_missed = True
        return await self._submit()

    async def _submit(self) -> JobEnd | None:
        """Let it begin, unless it has before; what its executor refuses for good has ended so."""
        try:
            await asyncio.to_thread(take_folder, self._order, self._attempt)
            await self._do(self._executor.submit)
        except OSError as error:
            told = "the job could not be submitted for now, and is tried again until it can be"
            raise OSError(f"{told}: {error}; mend that, or stop the sweep") from error
        except ApplicationError as error:
            if not error.non_retryable:
                raise
            told = "the job could not be submitted, and its executor does not want it to be tried again"
            advice = "mend that, and go on with resume=True (`--resume`)"
            return JobEnd(kind="infra", message=f"{told}: {error.message}; {advice}")
        return None

    async def _revoke(self) -> JobEnd | None:
        """Let it end where it runs; one that cannot begin, and cannot be told so for the same reason, has."""
        try:
            await self._do(self._executor.stop)
        except OSError:
            if (await self._do(self._executor.observe)).status != "unknown":
                raise
            return JobEnd(kind="cancelled")
        return None

    async def _go_on(self) -> None:
        await asyncio.to_thread(self._read_on)
        until, step = self._attempt.until_step, self._reports.step
        is_paused = until is not None and step is not None and step >= until  # and does not know of pauses
        await self._teller.tell(self._reports)
        if is_paused or await self._teller.is_unwanted():
            self.stop()

    def _read_on(self) -> None:
        self._transcript.read_on()
        self._reports.read(time())

    async def _ended(self, end: JobEnd) -> TrialNews:
        news = await asyncio.to_thread(self._judged, end)
        await self._place.keep_all(self._reports)
        return news

    def _judged(self, end: JobEnd) -> TrialNews:
        self._transcript.finish()
        self._reports.finish(time())
        tail = self._executor.collect(self._request)
        ended = verdict(self._attempt, end, self._reports, tail, time())
        return news_of(self._attempt.key, self._reports.size, ended)

    async def _do(self, effect: Callable[[Any], T]) -> T:
        """An effect of the executor; it may take its time."""
        return await asyncio.to_thread(effect, self._request)
