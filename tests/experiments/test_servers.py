"""What a user reads when the embedded server cannot be started."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from metta.sweep import Uniform
from metta.sweep.client.server import EmbeddedServer
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.errors import ServerError
from metta.sweep.experiments import SweepExperiment
from metta.sweep.worker.dev import stop_dev

X = {"x": Uniform(0, 1)}
SCRIPT = """\
from metta.sweep import Uniform
from metta.sweep.experiments import SweepExperiment

def train(params):
    return {"accuracy": params["x"]}

SweepExperiment(train, {"x": Uniform(0, 1)}, name="serverless").run(1)
"""


def environment_without_server(folder: Path) -> Path:
    """An environment like this one, but without the program ``temporal``; returns its Python."""
    here = Path(sys.executable).parent
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/python").symlink_to(Path(sys.executable).resolve())
    shutil.copy(here.parent / "pyvenv.cfg", folder)
    (folder / "lib").symlink_to(here.parent / "lib")
    return folder / "bin/python"


def test_without_the_program_the_extra_is_named(project: Path, tmp_path: Path) -> None:
    (project / "script.py").write_text(SCRIPT, "utf-8")
    python = environment_without_server(tmp_path / "bare")
    environment = {**os.environ, "PATH": "/usr/bin:/bin"}
    done = subprocess.run([python, "script.py"], env=environment, capture_output=True, text=True, timeout=50)
    assert done.returncode == 1
    assert 'pip install "metta-sweep[embedded]"' in done.stderr
    # what was never started is not set going by the next command either
    sweeps = subprocess.run([python, "-c", LIST], env=environment, capture_output=True, text=True, timeout=50)
    assert (sweeps.returncode, sweeps.stdout.splitlines()[0]) == (0, "no sweeps yet")


LIST = "from metta.sweep.cli.main import main; main(['ls'])"


def test_a_taken_port_is_told_with_the_cure(project: Path) -> None:
    (project / "mine.py").write_text(SCRIPT.rpartition("SweepExperiment")[0], "utf-8")
    settings = Settings.load()
    info = EmbeddedServer(settings.home / "server").ensure()
    stop_dev(settings, Console(quiet=True))
    host, _, port = info.address.rpartition(":")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((host, int(port)))
        other.listen()
        with pytest.raises(ServerError, match=rf"port {port} .* is taken by another program") as caught:
            SweepExperiment("mine.py:train", X, name="elsewhere").run(1)
    assert "delete" in str(caught.value)
    assert len(SweepExperiment("mine.py:train", X, name="elsewhere").run(1).trials) == 1
