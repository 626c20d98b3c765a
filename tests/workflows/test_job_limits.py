"""A sweep of many jobs stays inside the limits of the engine, and loses none of its slots."""

import os

import psutil
import pytest

from tests.rig import Rig, until
from tests.workflows.jobs import job
from tests.workflows.test_experiment_limits import check

JOBS = int(os.environ.get("METTA_SWEEP_TEST_JOBS", "800"))
"""Trials: more of them in `make soak`."""

SLOTS = 16

GROWTH_BYTES = 64 << 20
"""Less than this a worker may grow, however many trials it sees: each has a record of 2 KiB."""


@pytest.mark.timeout(120 + JOBS * 0.3)
async def test_a_sweep_of_many_jobs_begins_its_history_anew(rig: Rig) -> None:
    executor = {"type": "tests.workflows.no_process:NoProcess", "options": {"max_parallel": SLOTS}}
    worker = psutil.Process()
    handle = await rig.start(job("true", budget=JOBS, executor=executor))
    await until(lambda: rig.table(handle.id).counts.completed > 100)
    before = worker.memory_info().rss
    await handle.result()
    table = rig.table(handle.id)
    assert (table.counts.completed, table.epoch) == (JOBS, 1)
    assert sorted(record.attempt for record in table.records) == [1] * JOBS
    assert await check(rig, handle) > JOBS // 1000
    grown = worker.memory_info().rss - before
    print(f"{JOBS} jobs: the worker's process has grown by {grown >> 20} MiB")
    assert grown < GROWTH_BYTES
