"""No test leaves a job behind, whatever became of it."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from metta.sweep.executors.claims import holder, lives


@pytest.fixture(autouse=True)
def _no_job_is_left(tmp_path: Path) -> Iterator[None]:
    yield
    for claim in tmp_path.rglob("claim"):
        known = holder(str(claim.parent))
        pid = known.get("pid")
        if isinstance(pid, int) and pid != os.getpid() and lives(known):
            os.kill(pid, signal.SIGKILL)  # its job dies with it
