"""The activity `run_objective`: runs a Python objective in a process of this worker."""

import asyncio
from pathlib import Path
from time import time
from typing import Any

from temporalio import activity

from metta.sweep.activities.attending import Teller, attended, failed_trial, news_of, unusable
from metta.sweep.contracts.activities import RUN_OBJECTIVE
from metta.sweep.contracts.advances import TrialNews, TrialOrder
from metta.sweep.contracts.attempts import Attempt, Code
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.events import AttemptEnded, Failed
from metta.sweep.contracts.references import Reference
from metta.sweep.executors.protocol import REPORTS
from metta.sweep.executors.reports import Reports
from metta.sweep.runners.hosts import ObjectiveHost, Running
from metta.sweep.stores.files import FileStore

TELL_S = 1.0
"""How often it is looked what a trial has reported."""


class ObjectiveRuns:
    """The Python objectives that run on one worker, outside of sessions.

    Args:
        store: Where functions by value lie.
        code: How the program that defined the sweeps was started.
        slots: Trials of one sweep that may run at the same time.
    """

    def __init__(self, store: FileStore, code: Code, slots: int) -> None:
        self._store, self._code, self._slots = store, code, slots
        self._hosts: dict[str, ObjectiveHost] = {}

    @property
    def all(self) -> list[Any]:
        """All activities, for a worker."""
        return [self.run_objective]

    @activity.defn(name=RUN_OBJECTIVE.name)
    async def run_objective(self, order: TrialOrder) -> TrialNews:
        """Run an attempt to its end; a try after the death of a worker goes on from what was reported.

        Raises:
            ApplicationError: When it failed; its details are the news.
        """
        reports = Reports(order.attempt)
        attempt = _continued(order.attempt, reports)
        running = self._started(order, attempt)
        telling = asyncio.create_task(_told(order, reports, running))
        try:
            ending = asyncio.wrap_future(running.end)
            end: AttemptEnded = await attended(ending, running.stop, "another one goes on with the trial")
        except DefinitionError as error:  # it can never run
            end = unusable(attempt, error)
        finally:
            telling.cancel()
            running.stop()  # where it has not ended, nobody wants to know any more
        reports.read(time())
        news = news_of(attempt.key, reports.size, end)
        if isinstance(end, Failed):
            raise failed_trial(news, end.failure)
        return news

    async def close(self) -> None:
        """End everything that runs."""
        hosts = list(self._hosts.values())
        self._hosts.clear()
        await asyncio.gather(*(asyncio.to_thread(host.close) for host in hosts))

    def _started(self, order: TrialOrder, attempt: Attempt) -> Running:
        file = Path(attempt.folder, REPORTS)
        file.parent.mkdir(parents=True, exist_ok=True)
        host = self._hosts.get(order.sweep_id)
        if host and (running := host.start(attempt, file)):
            return running
        objective = str(order.objective)
        reference = Reference.parse(objective)
        value = str(self._store.value_path(reference.target)) if reference.kind == "value" else None
        code = self._code.model_copy(update={"objective": objective, "value": value})
        made = self._hosts[order.sweep_id] = ObjectiveHost(code, self._slots, order.timeout_s)
        begun = made.start(attempt, file)
        assert begun is not None
        return begun


async def _told(order: TrialOrder, reports: Reports, running: Running) -> None:
    """Tell again and again what is reported, and stop what nobody wants any more."""
    teller = Teller(order.sweep_id, order.attempt.key)
    while True:
        await asyncio.sleep(TELL_S)
        await asyncio.to_thread(reports.read, time())
        await teller.tell(reports.size)
        if await teller.is_unwanted():
            running.stop()


def _continued(attempt: Attempt, reports: Reports) -> Attempt:
    """The attempt from where a worker that has died had come to."""
    reports.read(time())
    if reports.step is None:
        return attempt
    known = {"step": reports.step, "resume_from": reports.checkpoint or attempt.resume_from}
    return attempt.model_copy(update=known)
