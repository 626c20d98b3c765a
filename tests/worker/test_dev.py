import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from time import monotonic, sleep

import pytest
from rich.console import Console

from metta.sweep.client.server import EmbeddedServer
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.worker.dev import run_dev, stop_dev
from tests.rig import OBJECTIVES, PATIENCE_S, TEMPORAL, definition

SWEEP = str(Path(sys.executable).with_name("sweep"))


@pytest.fixture
def dev(project: Path) -> Iterator["subprocess.Popen[str]"]:
    """`sweep dev` in another terminal."""
    (project / "objectives.py").write_text(OBJECTIVES, "utf-8")
    process = subprocess.Popen([SWEEP, "dev"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate()


def stopped(folder: Path) -> str:
    """What stopping everything says."""
    said = StringIO()
    stop_dev(Settings.load(folder), Console(file=said, width=200))
    return said.getvalue()


def test_it_serves_what_the_temporal_command_starts_until_it_is_stopped(
    project: Path, dev: "subprocess.Popen[str]"
) -> None:
    assert dev.stdout
    told = [dev.stdout.readline() for _ in range(5)]
    environment = dict(re.findall(r"(TEMPORAL_\w+)=(\S+)", told[1]))
    (project / "sweep.json").write_text(json.dumps(definition(budget=2)), "utf-8")
    command = told[3].removeprefix("start").split()
    given = ["mine" if word == "NAME" else "sweep.json" if word == "FILE" else word for word in command]
    for words in (given, ["temporal", "workflow", "result", "--workflow-id", "mine"]):
        done = subprocess.run(
            [TEMPORAL, *words[1:]], env=os.environ | environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert '"completed":2' in done.stdout

    server = EmbeddedServer(project / ".metta-sweep/server")
    before = server.find()
    killed = (project / ".metta-sweep/server/alive.lock").read_text("utf-8")
    os.kill(int(killed), signal.SIGKILL)
    deadline = monotonic() + PATIENCE_S
    while (project / ".metta-sweep/server/alive.lock").read_text("utf-8") in ("", killed):
        assert monotonic() < deadline, "it does not bring back its server"
        sleep(0.05)
    assert server.find() == before

    assert stopped(project) == f"stopped the workers of process {dev.pid} and the server\n"
    assert dev.wait(timeout=PATIENCE_S) == 0
    assert server.find() is None
    assert stopped(project) == "stopped no worker and no server\n"


def test_it_refuses_to_run_beside_a_server_of_ones_own(server: Settings) -> None:
    with pytest.raises(DefinitionError, match="Temporal's configuration names "):
        run_dev(server, Console(quiet=True))
