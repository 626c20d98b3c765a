"""A server that is away, or does not answer, costs nothing: trials go on and are recorded meanwhile."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import sleep

import pytest

from metta.sweep.client.server import EmbeddedServer
from metta.sweep.experiments import SweepExperiment
from tests.crash.evidence import Story
from tests.crash.projects import Project, kill
from tests.crash.training import STEPS, narrow

AWAY_S = 30.0
BUDGET = 140
"""More than is done while the server is away."""


@contextmanager
def killed_and_kept_from_starting(project: Project) -> Iterator[None]:
    """Somebody else's program listens on its port."""
    found = EmbeddedServer(project.store / "server").find()
    assert found
    host, _, port = found.address.rpartition(":")
    kill(*project.server())
    with _listening(host, int(port)):
        yield


def _listening(host: str, port: int) -> socket.socket:
    while True:
        with suppress(OSError):  # the one that was killed takes a moment to let go
            return socket.create_server((host, port))


@contextmanager
def frozen(project: Project) -> Iterator[None]:
    """It takes connections, and says nothing."""
    [server] = project.server()
    os.kill(server, signal.SIGSTOP)
    yield
    os.kill(server, signal.SIGCONT)


@pytest.fixture
def beside(here: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """Another project with a server of its own."""
    folder = here.folder / "beside"
    folder.mkdir()
    (folder / "pyproject.toml").touch()
    yield Project(folder)
    Project(folder).sweep("dev", "--stop")


def test_half_a_minute_without_a_server(
    here: Project, beside: Project, monkeypatch: pytest.MonkeyPatch, undisturbed: Story
) -> None:
    both = here.evidence("away"), beside.evidence("away")
    for project in (beside, here):
        monkeypatch.chdir(project.folder)
        narrow.start(BUDGET, name="away")
    for evidence in both:
        evidence.wait_for(STEPS)
    with killed_and_kept_from_starting(here), frozen(beside):
        before = [evidence.reports() for evidence in both]
        sleep(AWAY_S)
        meanwhile = [evidence.reports() - b for evidence, b in zip(both, before, strict=True)]
    assert min(meanwhile) > 20 * STEPS
    for project, evidence in zip((here, beside), both, strict=True):
        monkeypatch.chdir(project.folder)
        assert SweepExperiment.attach("away").result().progress.counts.completed == BUDGET
        evidence.assert_complete(BUDGET)
        assert evidence.epochs() == 1
        assert evidence.story()[: len(undisturbed)] == undisturbed
