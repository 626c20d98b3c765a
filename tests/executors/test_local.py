"""The local executor: how it is defined, and what it asks for; runners and jobs are tested by themselves."""

import math
import os
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.contracts.attempts import Attempt
from metta.sweep.contracts.components import create
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.jobs import Job, JobSpec
from metta.sweep.contracts.trials import Resources
from metta.sweep.executors import LocalExecutor
from tests.executors.jobs import end_of, spec_of, submit

FULL = JobSpec(
    sweep_id="digits",
    job=Job(command=("{python}", "train.py", "two words"), env={"COLOUR": "light blue"}, cwd="/srv/code"),
    attempt=Attempt(
        trial=7,
        segment=1,
        attempt=2,
        params={"rate": 0.1, "deep": True},
        seed=5,
        folder="/store/digits/trials/7/seg-1/try-2",
        until_step=9,
        step=3,
        resume_from="/store/digits/trials/7/seg-0/try-1/checkpoints/3",
        resources=Resources(cpu=2, gpu=1, memory_gib=4),
    ),
    timeout_s=3600,
)


def test_by_default_it_takes_one_slot_a_core_wherever_it_is_made() -> None:
    executor = LocalExecutor()
    assert executor.max_parallel == len(os.sched_getaffinity(0))
    assert (executor.max_trials_per_process, executor.timeout) == (None, None)
    assert executor.spec().options == {}  # another machine has other cores


def test_it_is_the_same_on_the_other_side_of_json() -> None:
    executor = LocalExecutor(3, max_trials_per_process=5, timeout=2.5)
    made = create(LocalExecutor, executor.spec())
    assert (made.max_parallel, made.max_trials_per_process, made.timeout) == (3, 5, 2.5)


@pytest.mark.parametrize("timeout", [0, -1.0, math.nan, math.inf, "1 h", True])
def test_a_timeout_is_a_positive_number_of_seconds(timeout: Any) -> None:
    with pytest.raises(
        DefinitionError, match=f"timeout has to be a positive number of seconds, got {timeout!r}"
    ):
        LocalExecutor(timeout=timeout)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(DefinitionError) as error:
        LocalExecutor(max_parallel=0, max_trials_per_process=-1, timeout=0)
    assert error.value.problems == (
        "max_parallel has to be a whole number of at least 1, got 0",
        "max_trials_per_process has to be a whole number of at least 1, got -1",
        "timeout has to be a positive number of seconds, got 0",
    )
    wrong: dict[str, Any] = {"max_paralel": 2}
    with pytest.raises(DefinitionError, match="max_paralel is unknown; did you mean max_parallel"):
        LocalExecutor(**wrong)


def test_a_request_is_for_people_too() -> None:
    executor = LocalExecutor(gpus=["GPU-a", "GPU-b"])
    assert executor.describe(executor.build_request(FULL)).splitlines() == [
        "digits/trials/7/seg-1/try-2 on this machine",
        "  command  '{python}' train.py 'two words'",
        "  cwd      /srv/code",
        "  folder   /store/digits/trials/7/seg-1/try-2",
        "  env      PYTHONUNBUFFERED=1 COLOUR='light blue'"
        " METTA_SWEEP_TRIAL=/store/digits/trials/7/seg-1/try-2/trial.json"
        " METTA_SWEEP_REPORTS=/store/digits/trials/7/seg-1/try-2/reports.jsonl",
        "  limits   2 threads, 4 GiB of memory, 1 of the devices GPU-a, GPU-b, 3600 s, 30 s of grace",
    ]


def test_a_job_is_told_all_of_its_attempt() -> None:
    assert LocalExecutor().build_request(FULL).trial == {
        "sweep": "digits",
        "number": 7,
        "segment": 1,
        "attempt": 2,
        "params": {"rate": 0.1, "deep": True},
        "seed": 5,
        "until_step": 9,
        "step": 3,
        "resume_from": "/store/digits/trials/7/seg-0/try-1/checkpoints/3",
        "checkpoint_dir": "/store/digits/trials/7/seg-1/try-2/checkpoints",
        "folder": "/store/digits/trials/7/seg-1/try-2",
        "resources": {"cpu": 2.0, "gpu": 1.0, "memory_gib": 4.0},
        "reports": "/store/digits/trials/7/seg-1/try-2/reports.jsonl",
    }


def test_the_executors_timeout_holds_unless_the_sweep_says_another_one(tmp_path: Path) -> None:
    executor = LocalExecutor(timeout=0.2)
    assert executor.build_request(FULL).timeout_s == 3600
    assert executor.build_request(spec_of(tmp_path, "true")).timeout_s == 0.2
    end = end_of(submit(tmp_path, "sleep 1000", executor=executor))
    assert (end.kind, end.message) == ("timeout", "it ran longer than 0.2 s")
