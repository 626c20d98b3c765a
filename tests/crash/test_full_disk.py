"""A disk that is full while a sweep commits: it waits, says so, and loses nothing."""

import subprocess
import sys

import pytest

from tests.crash.evidence import Evidence, Story
from tests.crash.filling import BUDGET, NAME
from tests.crash.projects import Project

NAMESPACE = ["unshare", "--mount", "--map-root-user"]
"""Mounts made within it are seen by nobody else, and go with it."""

SMALL_DISK = 'mount -t tmpfs -o size=256k small "$1" && exec "$0" -m tests.crash.filling "$1" "$2"'


def test_a_full_disk_loses_nothing(here: Project, undisturbed: Story) -> None:
    if subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a small disk in a namespace of its own")
    sweeps, kept = here.store / "sweeps", here.folder / "kept"
    sweeps.mkdir(parents=True)
    command = [*NAMESPACE, "sh", "-c", SMALL_DISK, sys.executable, str(sweeps), str(kept)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    evidence = Evidence(NAME, kept)
    evidence.assert_complete(BUDGET)
    assert evidence.epochs() == 1
    assert evidence.story() == undisturbed[:BUDGET]
