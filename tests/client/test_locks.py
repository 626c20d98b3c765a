import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from fcntl import LOCK_SH, flock
from pathlib import Path
from threading import Timer

from metta.sweep.client.detached import wait_until_free
from metta.sweep.client.locks import held, is_held


def test_a_lock_is_held_until_its_descriptor_is_closed(tmp_path: Path) -> None:
    lock = tmp_path / "folder" / "lock"
    assert not is_held(lock)
    assert not lock.parent.exists()  # looking makes nothing
    descriptor = held(lock)
    assert descriptor is not None
    assert is_held(lock)
    assert held(lock) is None
    os.close(descriptor)
    assert not is_held(lock)


def test_a_lock_can_be_shared_but_not_while_somebody_has_it_for_himself(tmp_path: Path) -> None:
    one, other = held(tmp_path / "lock", shared=True), held(tmp_path / "lock", shared=True)
    assert one is not None
    assert other is not None
    assert held(tmp_path / "lock") is None
    os.close(one)
    os.close(other)
    alone = held(tmp_path / "lock")
    assert alone is not None
    assert held(tmp_path / "lock", shared=True) is None
    os.close(alone)


def test_somebody_who_only_looks_at_a_lock_does_not_keep_others_from_taking_it(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    looker = lock.open("w")
    flock(looker, LOCK_SH)
    Timer(0.03, looker.close).start()
    descriptor = held(lock)
    assert looker.closed
    assert descriptor is not None
    os.close(descriptor)


def test_those_who_look_do_not_see_each_other(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.touch()
    with ThreadPoolExecutor(4) as threads:
        assert not any(threads.map(lambda _: is_held(lock), range(20_000)))


def test_a_lock_is_not_inherited_by_children(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    descriptor = held(lock)
    assert descriptor is not None
    with subprocess.Popen(["sleep", "60"], close_fds=False) as child:
        os.close(descriptor)
        assert wait_until_free(lock, 10)  # a moment after it has begun, the child lets go
        assert child.poll() is None
        child.kill()
