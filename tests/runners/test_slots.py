import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from shutil import rmtree
from time import monotonic, sleep

import pytest

from metta.sweep.runners.slots import LOOK_S, YIELD_S, MachineSlots
from tests.runners.driving import PATIENCE_S, attempt, code, driving
from tests.runners.test_runner import owner

HOLDER = """
import sys, time
from pathlib import Path
from metta.sweep.runners.slots import MachineSlots
slots = MachineSlots(2, Path(sys.argv[1]))
print(slots.reserve(2), flush=True)
for _ in range(2): slots.use()
time.sleep(60)
"""


@pytest.fixture
def sweep(tmp_path: Path) -> Callable[..., MachineSlots]:
    """Another sweep on a machine with two cores; each has files of its own, as processes do."""

    def sweep(slots: int = 2) -> MachineSlots:
        return MachineSlots(slots, tmp_path / "slots")

    return sweep


def taken(slots: MachineSlots, wanted: int) -> int:
    """How many slots could be taken into use, after a while to get them."""
    deadline = monotonic() + PATIENCE_S
    while not (got := slots.reserve(wanted)) and monotonic() < deadline:
        sleep(0.02)
    for _ in range(got):
        slots.use()
    return got


def test_slots_in_use_are_nobody_elses(sweep: Callable[..., MachineSlots]) -> None:
    one, other = sweep(), sweep()
    assert one.reserve(1) == 1
    one.use()
    assert other.reserve(2) == 1
    assert not other.is_waiting
    assert other.retry_s is not None


def test_a_sweep_alone_gets_all_it_wants_and_need_not_try_again(sweep: Callable[..., MachineSlots]) -> None:
    one = sweep()
    assert taken(one, 2) == 2
    assert one.reserve(0) == 0
    assert one.retry_s is None
    assert not one.is_waiting


def test_slots_at_hand_that_nobody_uses_are_for_the_others(sweep: Callable[..., MachineSlots]) -> None:
    one, other = sweep(), sweep()
    assert one.reserve(2) == 2
    assert other.reserve(1) == 0
    assert other.is_waiting
    one.rest()
    assert taken(other, 1) == 1
    assert not other.is_waiting
    assert one.reserve(2) == 1  # what is left, at once


def test_whoever_has_none_gets_the_next_slot_that_is_released(sweep: Callable[..., MachineSlots]) -> None:
    one, other = sweep(), sweep()
    taken(one, 2)
    assert other.reserve(2) == 0
    one.release()
    assert one.reserve(1) == 0  # it does not take it back at once
    assert taken(other, 2) == 1


def test_sweeps_take_turns_when_there_are_more_of_them_than_slots(sweep: Callable[..., MachineSlots]) -> None:
    sweeps = [sweep() for _ in range(3)]
    turns = [0, 0, 0]
    running: list[MachineSlots] = []
    deadline = monotonic() + PATIENCE_S
    while min(turns) < 2 and monotonic() < deadline:
        for number, slots in enumerate(sweeps):
            if slots in running:
                running.remove(slots)
                slots.release()
            if slots.reserve(1):
                slots.use()
                running.append(slots)
                turns[number] += 1
        sleep(0.02)
    assert min(turns) >= 2


def test_a_sweep_with_more_slots_than_others_leaves_those_that_all_can_use_to_them(
    sweep: Callable[..., MachineSlots],
) -> None:
    wide, narrow = sweep(8), sweep(2)
    assert taken(wide, 6) == 6
    assert taken(narrow, 2) == 2


def test_the_kernel_frees_the_slots_of_a_process_that_was_killed(tmp_path: Path) -> None:
    slots = MachineSlots(2, tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "2\n"
        assert slots.reserve(2) == 0
        process.kill()
    assert taken(slots, 2) == 2


def test_a_folder_that_somebody_tidied_away_is_made_again(
    sweep: Callable[..., MachineSlots], tmp_path: Path
) -> None:
    one = sweep()
    taken(one, 1)
    rmtree(tmp_path / "slots")
    assert one.reserve(1) in (0, 1)
    one.release()
    sleep(max(LOOK_S, YIELD_S))
    assert taken(one, 1) == 1


def test_a_closed_one_has_given_everything_back(sweep: Callable[..., MachineSlots]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    one, other = sweep(), sweep()
    taken(one, 2)
    other.reserve(1)
    other.close()
    one.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_pool_that_has_nothing_to_do_leaves_the_machine_to_the_others(project: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    with driving(code("naps")) as driver:
        driver.run(attempt(s=0))
        assert driver.pool.free() == 1
        driver.pool.wait(0)
        others = MachineSlots(cores)
        assert others.reserve(cores) == cores
        others.close()


def test_two_pools_in_two_processes_share_the_machine(project: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    with owner(project, "chatters", slots=cores) as process:
        assert process.stdout
        process.stdout.readline()  # it uses all of the machine
        with driving(code("naps")) as driver:
            assert driver.pool.free() == 0
            driver.pool.wait(0)
            assert driver.pool.waiting_for == "a free slot: other sweeps use this machine"
            assert driver.run(attempt(s=0))
            assert driver.pool.waiting_for == ""
            for _ in range(20):
                process.stdout.readline()  # it goes on, too
