"""What tests of runners share: a memory cgroup that is too small."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

CGROUPS = (
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),  # version 1
    (Path("/sys/fs/cgroup"), "memory.max"),
)


@pytest.fixture
def memory_cgroup() -> Iterator[Path]:
    """A cgroup that allows its processes 64 MiB."""
    mount, limit = next(
        ((root, name) for root, name in CGROUPS if (root / "cgroup.procs").exists()), (None, "")
    )
    if mount is None or not os.access(mount, os.W_OK):
        pytest.skip("only who may make a memory cgroup can let the kernel kill a process for want of memory")
    group = mount / f"metta-sweep-{os.getpid()}"
    group.mkdir()
    try:
        if not (group / limit).exists():
            pytest.skip("the memory controller is not at hand in new cgroups")
        (group / limit).write_text(str(64 << 20))
        yield group
    finally:
        group.rmdir()
