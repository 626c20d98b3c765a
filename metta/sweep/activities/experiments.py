"""The activities around trials that are experiments: their metrics, their end, and that of their sweep."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from time import time
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.service import RPCError

from metta.sweep.activities import attending
from metta.sweep.activities.handles import RPC_TIMEOUT, is_over
from metta.sweep.contracts.activities import END_EXPERIMENT, MEASURE_TRIAL, WATCH_SWEEP
from metta.sweep.contracts.advances import ExperimentEnd, Measuring, SweepWatch, TrialNews
from metta.sweep.contracts.consent import Consent, consenting
from metta.sweep.contracts.errors import BadMetric
from metta.sweep.contracts.events import Completed, Failed
from metta.sweep.contracts.failures import Failure
from metta.sweep.pipeline.numbers import WAY_OUT, metrics_of
from metta.sweep.pipeline.packing import Packer
from metta.sweep.stores.base import Store

NO_RESULT = f"its experiment gave nothing; {WAY_OUT}"


class ExperimentTrials:
    """The trials of one worker that are experiments.

    Args:
        store: Where large results lie.
        consent: What may be named; None lets everything pass.
    """

    def __init__(self, store: Store, consent: Consent | None) -> None:
        # a class of the user's is never made again here, and nothing is read that would run code
        self._packer = Packer(store.data, pickle=False)
        self._consent = consent

    @property
    def all(self) -> list[Any]:
        """All activities, for a worker."""
        return [self.measure_trial, self.end_experiment, self.watch_sweep]

    @activity.defn(name=MEASURE_TRIAL.name)
    async def measure_trial(self, order: Measuring) -> TrialNews:
        """Look for the metrics in what a trial has given."""
        key = order.attempt
        ended: dict[str, Any] = {"at": time(), "seconds": order.seconds, **key._asdict()}
        try:
            metrics = await asyncio.to_thread(self._metrics, order)
        except BadMetric as error:
            failure = Failure(kind="bad_metric", message=str(error))
            return attending.news_of(key, 0, Failed(failure=failure, **ended))
        if metrics is None:
            return attending.news_of(
                key, 0, Failed(failure=Failure(kind="no_result", message=NO_RESULT), **ended)
            )
        return attending.news_of(key, 0, Completed(metrics=metrics, **ended))

    @activity.defn(name=END_EXPERIMENT.name)
    async def end_experiment(self, order: ExperimentEnd) -> ExperimentEnd:
        """Cancel the workflow of an experiment, if it runs, and wait for its end."""
        handle = activity.client().get_workflow_handle(order.name)
        while not await is_over(handle):
            activity.heartbeat()
            with suppress(RPCError):  # it has just ended, or is asked again
                await handle.cancel(rpc_timeout=RPC_TIMEOUT)
            await asyncio.sleep(attending.BEAT_S)
        return order

    @activity.defn(name=WATCH_SWEEP.name)
    async def watch_sweep(self, watch: SweepWatch) -> SweepWatch:
        """Say that a sweep is over.

        Raises:
            ApplicationError: When it is not: the server asks again, and nobody has to wait for that.
        """
        if await is_over(activity.client().get_workflow_handle(watch.sweep_id)):
            return watch
        raise ApplicationError(
            "the sweep goes on",
            type="SweepGoesOn",
            category=ApplicationErrorCategory.BENIGN,
            next_retry_delay=timedelta(seconds=attending.CLOSED_S),
        )

    def _metrics(self, order: Measuring) -> dict[str, float] | None:
        with consenting(self._consent):
            return metrics_of(order.value, order.metric, self._packer)
