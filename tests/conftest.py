"""What tests share: a folder for the project under test, and real Temporal servers."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import psutil
import pytest
from rich.console import Console

from metta.sweep.client.settings import Settings
from metta.sweep.experiments import defaults
from metta.sweep.worker.dev import stop_dev
from tests.rig import serving
from tests.stores.weed import Weed, running_weed

GONE_S = 10.0
"""A process that was killed is gone by then, on a busy machine too."""


COLOURS = ("FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS")
"""Where one of them is set, whatever its value, the command's own help is printed as if in a terminal."""


@pytest.fixture(autouse=True)
def _alone(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's settings or of other tests' defaults, and none of the slots others use."""
    for name in list(os.environ):
        if name.startswith(("TEMPORAL_", "METTA_SWEEP_")) or name in COLOURS:
            monkeypatch.delenv(name)
    monkeypatch.setenv("TMPDIR", str(tmp_path_factory.mktemp("machine")))
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", os.devnull)
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(defaults, "_configured", {})  # by scripts that a test runs in this process, too


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project of its own, in which the test stands; none of its processes outlive the test."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").write_text("", "utf-8")
    monkeypatch.chdir(folder)
    yield folder
    os.chdir(folder)  # the test may have gone elsewhere
    stop_dev(Settings.load(folder), Console(quiet=True))
    assert leftovers(folder) == []


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A Temporal server for all tests that only need one, as the settings that lead to it."""
    with serving(tmp_path_factory.mktemp("server")) as settings:
        yield settings


@pytest.fixture(scope="module")  # not longer: others count the processes that they have
def _weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weed]:
    with running_weed(tmp_path_factory.mktemp("weed")) as weed:
        yield weed


@pytest.fixture
def weed(_weed: Weed, monkeypatch: pytest.MonkeyPatch) -> Weed:
    """An S3 server for all tests that only need one; the environment leads to it."""
    _weed.lead_there(monkeypatch)
    return _weed


def leftovers(folder: Path) -> list[str]:
    """Command lines of the processes that speak of a folder, or stand in it, after a while to go."""
    deadline = monotonic() + GONE_S
    while (found := _speaking_of(str(folder))) and monotonic() < deadline:
        sleep(0.05)
    return found


def _speaking_of(folder: str) -> list[str]:
    found = []
    for process in psutil.process_iter():
        try:
            command = " ".join(process.cmdline())
            stands_there = process.pid != os.getpid() and process.cwd().startswith(folder)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if folder in command or stands_there:
            found.append(f"{process.pid} {command}")
    return found
