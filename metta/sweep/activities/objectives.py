"""The activity `run_objective`: runs a Python objective in a process of this worker."""

import asyncio
from functools import partial
from pathlib import Path
from time import time
from typing import Any

from temporalio import activity

from metta.sweep.activities.attending import BEAT_S, Teller, attended, failed_trial, news_of, unusable
from metta.sweep.activities.folders import take_folder
from metta.sweep.activities.places import Place, patiently
from metta.sweep.contracts.activities import RUN_OBJECTIVE
from metta.sweep.contracts.advances import TrialNews, TrialOrder
from metta.sweep.contracts.attempts import Attempt, Code
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.events import AttemptEnded, Failed
from metta.sweep.contracts.references import Reference
from metta.sweep.executors.protocol import REPORTS
from metta.sweep.executors.reports import Reports
from metta.sweep.runners.hosts import ObjectiveHost, Running
from metta.sweep.stores.base import Store
from metta.sweep.telemetry.tracing import traceparent


class ObjectiveRuns:
    """The Python objectives that run on one worker, outside of sessions.

    Args:
        store: Where functions by value lie.
        code: How the program that defined the sweeps was started.
        slots: Trials of one sweep that may run at the same time.
    """

    def __init__(self, store: Store, code: Code, slots: int) -> None:
        self._store, self._code, self._slots = store, code, slots
        self._closing: set[asyncio.Task[None]] = set()
        # a sweep that is resumed, or deleted and begun anew, may have other code
        self._hosts: dict[tuple[str, str, int], ObjectiveHost] = {}

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
        place = Place(self._store.workplace(order.sweep_id), order.attempt)
        code = await patiently(partial(self._prepared, order, place))
        attempt = place.attempt.model_copy(update={"traceparent": traceparent()})
        running = self._started(order, attempt, code)
        telling = asyncio.create_task(_told(order, running, place))
        try:
            ending = asyncio.wrap_future(running.end)
            end: AttemptEnded = await attended(ending, running.stop, "another one goes on with the trial")
        except DefinitionError as error:  # it can never run
            end = unusable(attempt, error)
        finally:
            telling.cancel()
            running.stop()  # where it has not ended, nobody wants to know any more
        reports = Reports(attempt)
        await asyncio.to_thread(reports.read, time())
        await place.keep_all(reports)
        news = news_of(attempt.key, reports.size, end)
        if isinstance(end, Failed):
            raise failed_trial(news, end.failure)
        return news

    async def close(self) -> None:
        """End everything that runs."""
        hosts = list(self._hosts.values())
        self._hosts.clear()
        await asyncio.gather(*(asyncio.to_thread(host.close) for host in hosts))

    def _close_before(self, order: TrialOrder) -> None:
        """End the processes that the sweep had under an earlier epoch, and forget those that are over."""
        for key, host in list(self._hosts.items()):
            if host.is_over or (key[:2] == (order.sweep_id, order.ledger_id) and key[2] < order.epoch):
                del self._hosts[key]
                self._closing.add(task := asyncio.create_task(asyncio.to_thread(host.close)))
                task.add_done_callback(self._closing.discard)

    def _prepared(self, order: TrialOrder, place: Place) -> Code:
        """Make its place ready; returns where its code is found."""
        take_folder(order, place.attempt)
        place.go_on()
        objective = str(order.objective)
        reference = Reference.parse(objective)
        value = str(self._store.value_path(reference.target)) if reference.kind == "value" else None
        return self._code.model_copy(update={"objective": objective, "value": value})

    def _started(self, order: TrialOrder, attempt: Attempt, code: Code) -> Running:
        file = Path(attempt.folder, REPORTS)
        file.parent.mkdir(parents=True, exist_ok=True)
        self._close_before(order)
        key = order.sweep_id, order.ledger_id, order.epoch
        host = self._hosts.get(key)
        if host and (running := host.start(attempt, file)):
            return running
        made = self._hosts[key] = ObjectiveHost(code, self._slots, order.timeout_s)
        begun = made.start(attempt, file)
        assert begun is not None
        return begun


async def _told(order: TrialOrder, running: Running, place: Place) -> None:
    """Tell again and again what is reported, and stop what nobody wants any more."""
    reports = Reports(place.attempt)
    teller = Teller(order, place)
    while True:
        await asyncio.sleep(BEAT_S)
        await asyncio.to_thread(reports.read, time())
        await teller.tell(reports)
        if await teller.is_unwanted():
            running.stop()
