"""Leases: jobs that need devices take turns, and die without taking them along."""

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from fcntl import LOCK_EX, LOCK_UN, flock
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from metta.sweep.contracts.components import create
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.trials import Resources
from metta.sweep.executors.leases import lease, release
from metta.sweep.executors.local import LocalExecutor
from tests.executors.jobs import end_of, kill_supervisor, process_of, spec_of, submit, until

ONE = Resources(gpu=1)
SHOW = "echo $CUDA_VISIBLE_DEVICES $CUDA_DEVICE_ORDER"
HOLD = f"{SHOW}; sleep 1000"


@pytest.fixture(autouse=True)
def _leases_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_devices_are_leased_all_or_none(tmp_path: Path) -> None:
    folder = str(tmp_path / "leases")
    first = lease(folder, ["a", "b", "c"], 2)
    assert list(first) == ["a", "b"]
    assert lease(folder, ["a", "b", "c"], 2) == {}
    second = lease(folder, ["a", "b", "c"], 1)  # the one that was left over was given back
    assert list(second) == ["c"]
    release(first)
    assert first == {}
    third = lease(folder, ["a", "b", "c"], 2)
    assert list(third) == ["a", "b"]
    release(second)
    release(third)


def test_while_somebody_gathers_leases_others_wait(tmp_path: Path) -> None:
    with (tmp_path / "gather").open("w") as gathering, ThreadPoolExecutor(1) as pool:
        flock(gathering, LOCK_EX)
        leased = pool.submit(lease, str(tmp_path), ["a"], 1)
        sleep(0.2)
        assert not leased.done()
        flock(gathering, LOCK_UN)
        release(leased.result())


def test_any_id_of_a_device_can_be_leased(tmp_path: Path) -> None:
    odd = ["0", "GPU-8a1b", "MIG-GPU-8a1b/3/0", "../up", "ü" * 40]
    held = lease(str(tmp_path), odd, 5)
    assert list(held) == odd
    release(held)


def test_a_job_sees_the_devices_that_it_has_and_no_other(tmp_path: Path) -> None:
    executor = LocalExecutor(gpus=["GPU-a", "GPU-b", "GPU-c"])
    first = submit(tmp_path / "1", HOLD, executor=executor, resources=Resources(gpu=2))
    process_of(tmp_path / "1")
    second = submit(tmp_path / "2", HOLD, executor=executor, resources=ONE)
    process_of(tmp_path / "2")
    until(lambda: executor.collect(first) == "GPU-a,GPU-b PCI_BUS_ID\n")
    until(lambda: executor.collect(second) == "GPU-c PCI_BUS_ID\n")


def test_without_a_device_to_lease_a_job_waits_and_says_so(tmp_path: Path) -> None:
    executor = LocalExecutor(gpus=[0])
    first = submit(tmp_path / "1", HOLD, executor=executor, resources=ONE)
    process_of(tmp_path / "1")
    second = submit(tmp_path / "2", SHOW, executor=executor, resources=ONE, timeout_s=0.1)
    state = executor.observe(second)
    assert (state.status, state.note) == ("waiting", "it waits until a device is free")
    executor.stop(first)
    end = end_of(second)
    assert (end.code, end.kind) == (0, None)  # its time began when it did
    assert executor.collect(second) == "0 PCI_BUS_ID\n"


def test_a_job_that_waits_can_be_told_to_end(tmp_path: Path) -> None:
    executor = LocalExecutor(gpus=[0])
    submit(tmp_path / "1", HOLD, executor=executor, resources=ONE)
    process_of(tmp_path / "1")
    second = submit(tmp_path / "2", SHOW, executor=executor, resources=ONE)
    executor.stop(second)
    end = end_of(second)
    assert (end.kind, end.message) == ("cancelled", "it was told to end before it began")
    assert executor.collect(second) == ""
    assert not (tmp_path / "2" / "started.json").exists()


def test_a_device_is_free_as_soon_as_whoever_leased_it_is_dead(tmp_path: Path) -> None:
    executor = LocalExecutor(gpus=[0])
    submit(tmp_path / "1", HOLD, executor=executor, resources=ONE)
    process_of(tmp_path / "1")
    kill_supervisor(executor, spec_of(tmp_path / "1", HOLD))
    second = submit(tmp_path / "2", SHOW, executor=executor, resources=ONE)
    assert end_of(second).code == 0


def test_many_jobs_that_need_two_of_three_devices_come_to_their_turn(tmp_path: Path) -> None:
    executor = LocalExecutor(gpus=["a", "b", "c"])
    # a device that two jobs have at the same time lets the second one fail
    script = 'cd "$0"; mine=$(echo $CUDA_VISIBLE_DEVICES | tr , " "); mkdir $mine; sleep 0.05; rmdir $mine'
    requests = [
        submit(
            tmp_path / str(n),
            "sh",
            "-ec",
            script,
            str(tmp_path),
            executor=executor,
            resources=Resources(gpu=2),
        )
        for n in range(6)
    ]
    assert [end_of(request).code for request in requests] == [0] * 6


@pytest.mark.parametrize(
    ("gpus", "gpu", "problem"),
    [
        ([0, 1], 3, "resources.gpu is 3, but this machine offers 2: 0, 1; ask for fewer, or name more"),
        ([], 1, "resources.gpu is 1, but this machine offers 0; ask for fewer"),
        ([0, 1], 0.5, "resources.gpu has to be a whole number, got 0.5: devices are not shared"),
    ],
)
def test_what_the_machine_does_not_offer_is_refused_and_nothing_begins(
    gpus: list[int], gpu: float, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(DefinitionError, match=problem):
        submit(tmp_path / "job", "true", executor=LocalExecutor(gpus=gpus), resources=Resources(gpu=gpu))
    assert not (tmp_path / "job").exists()


def test_a_job_that_needs_no_device_finds_what_its_worker_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    request = submit(tmp_path, SHOW, executor=LocalExecutor(gpus=[0]))
    assert end_of(request).code == 0
    assert LocalExecutor().collect(request) == "5\n"


def test_by_default_jobs_lease_what_the_worker_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-x,GPU-y")
    request = submit(tmp_path, SHOW, resources=Resources(gpu=2))
    assert end_of(request).code == 0
    assert LocalExecutor().collect(request) == "GPU-x,GPU-y PCI_BUS_ID\n"


def test_leases_that_cannot_be_had_at_all_are_the_machines_fault(tmp_path: Path) -> None:
    (tmp_path / f"metta-sweep-gpus-{os.getuid()}").touch()  # where their folder is to be
    end = end_of(submit(tmp_path / "job", "true", executor=LocalExecutor(gpus=[0]), resources=ONE))
    assert end.kind == "infra"
    assert "it could not be started: [Errno 17] File exists" in end.message


def test_devices_survive_json(tmp_path: Path) -> None:
    executor = LocalExecutor(gpus=["GPU-a", 1])
    made = create(LocalExecutor, executor.spec())
    spec = spec_of(tmp_path, "true", resources=ONE)
    assert made.build_request(spec) == executor.build_request(spec)
    assert made.gpus == ("GPU-a", "1")
    assert LocalExecutor().spec().options == {}


@pytest.mark.parametrize("gpus", ["0", [0, 0], [0, "0"], [True], [""], [1.5], 2])
def test_devices_are_a_list_of_different_ids(gpus: Any) -> None:
    with pytest.raises(DefinitionError, match="gpus has to be a list of different ids, such as"):
        LocalExecutor(gpus=gpus)


def test_locks_lie_in_a_folder_of_the_user(tmp_path: Path) -> None:
    end_of(submit(tmp_path / "job", "true", executor=LocalExecutor(gpus=[0]), resources=ONE))
    folder = tmp_path / f"metta-sweep-gpus-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
