"""Control groups: which one is made where, played on folders; a kernel that has them is not everywhere."""

import os
from pathlib import Path

import pytest

from metta.sweep.executors import cgroups
from metta.sweep.executors.cgroups import limited, own_groups, ran_out

GIB = 2**30


def proc(folder: Path, group: str, mounts: str) -> str:
    (folder / "cgroup").write_text(group)
    (folder / "mountinfo").write_text(mounts)
    return str(folder)


def parent(folder: Path, name: str, controllers: str) -> str:
    made = folder / name
    made.mkdir()
    (made / "cgroup.subtree_control").write_text(controllers)
    return str(made)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders that fill themselves when they are made, as those of control groups do."""
    plain = os.mkdir

    def mkdir(path: str, mode: int = 0o777) -> None:
        plain(path, mode)
        for name in ("memory.max", "memory.oom.group", "cgroup.procs"):
            Path(path, name).touch()

    monkeypatch.setattr(os, "mkdir", mkdir)


def test_groups_are_found_from_the_own_one_upwards(tmp_path: Path) -> None:
    group = "1:name=systemd:/x\n0::/user.slice/app.slice/my.scope\n"
    mounts = "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
    top = "/sys/fs/cgroup"
    assert own_groups(proc(tmp_path, group, mounts)) == [
        f"{top}/user.slice/app.slice/my.scope",
        f"{top}/user.slice/app.slice",
        f"{top}/user.slice",
        top,
    ]


def test_within_a_container_the_mounted_root_is_the_top(tmp_path: Path) -> None:
    mounts = "30 24 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n"
    assert own_groups(proc(tmp_path, "0::/docker/abc\n", mounts)) == ["/sys/fs/cgroup"]


@pytest.mark.parametrize(
    ("group", "mounts"),
    [
        ("4:memory:/x\n", "30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
        ("0::/\n", "30 24 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"),
    ],
)
def test_without_the_second_version_there_are_none(group: str, mounts: str, tmp_path: Path) -> None:
    assert own_groups(proc(tmp_path, group, mounts)) == []


def test_a_group_is_made_in_the_nearest_one_that_shares_out_memory(tmp_path: Path, kernel: None) -> None:
    parents = [parent(tmp_path, "scope", "cpu"), parent(tmp_path, "slice", "cpu memory"), str(tmp_path)]
    group = limited(parents, "job", 1.5)
    made = tmp_path / "slice" / "job"
    assert group == str(made)
    assert (made / "memory.max").read_text() == str(int(1.5 * GIB))
    assert (made / "memory.oom.group").read_text() == "1"


def test_where_there_are_no_such_files_nothing_is_limited_and_nothing_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups, "GONE_S", 0.05)
    parents = [parent(tmp_path, "slice", "memory"), str(tmp_path / "nowhere")]
    assert limited(parents, "job", 1.5) is None
    assert not (tmp_path / "slice" / "job").exists()


def test_processes_join_by_a_file_that_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        cgroups.join(str(tmp_path))
    (tmp_path / "cgroup.procs").touch()
    cgroups.join(str(tmp_path))
    assert (tmp_path / "cgroup.procs").read_text() == "0"


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ("low 0\nhigh 0\nmax 12\noom 1\noom_kill 2\noom_group_kill 1\n", True),
        ("low 0\nhigh 0\nmax 12\noom 0\noom_kill 0\n", False),
        ("", False),
        (None, False),
    ],
)
def test_a_group_tells_whether_its_memory_ran_out(events: str | None, expected: bool, tmp_path: Path) -> None:
    if events is not None:
        (tmp_path / "memory.events").write_text(events)
    assert ran_out(str(tmp_path)) is expected
