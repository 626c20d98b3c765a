"""What tests of runners share: a memory cgroup that is too small."""

from collections.abc import Iterator
from pathlib import Path
from time import sleep

import pytest

LIMITS = {
    Path("/sys/fs/cgroup/memory"): "memory.limit_in_bytes",  # version 1
    Path("/sys/fs/cgroup"): "memory.max",
}


@pytest.fixture
def memory_cgroup(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A cgroup that allows its processes 64 MiB; skips where none can be made."""
    reason = ""
    for mount, limit in LIMITS.items():
        group = mount / f"metta-sweep-{request.node.name}"
        try:
            group.mkdir()
            (group / limit).write_text(str(64 << 20))
        except OSError as error:
            reason = str(error)
            if group.exists():
                group.rmdir()
            continue
        yield group
        while (group / "cgroup.procs").read_text():
            sleep(0.05)
        group.rmdir()
        return
    pytest.skip(f"no memory cgroup can be made: {reason}")
