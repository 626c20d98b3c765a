"""The health of a worker, as a kubelet asks for it."""

import json
import os
import signal
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest

from metta.sweep.client.server import EmbeddedServer
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.telemetry.endpoints import Address, Endpoints
from metta.sweep.worker.health import Health
from tests.rig import pid_in, serving
from tests.telemetry.conftest import free_port, program, until, worker

SWEEP = """\
from metta.sweep import Uniform
from metta.sweep.experiments import SweepExperiment

def train(params):
    return {"loss": params["x"]}

if __name__ == "__main__":
    SweepExperiment(train, {"x": Uniform(0, 1)}, name="told").run(budget=2)
"""


def asked(port: int, path: str = "/healthz") -> tuple[int, dict[str, Any]]:
    """Status and answer; 0 when nobody answers."""
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        with error:
            return error.code, json.load(error) if error.code == 503 else {}
    except URLError:
        return 0, {}


def test_a_worker_is_well_while_it_reaches_its_server(project: Path, tmp_path: Path) -> None:
    port = free_port()
    elsewhere = tmp_path / "elsewhere"
    with serving(elsewhere) as there:
        settings = Settings(project, there.connect)
        with worker(project, settings, {"METTA_SWEEP_HEALTH": f"127.0.0.1:{port}"}):
            until(lambda: asked(port)[0] == 200, "the worker is not well")
            _, told = asked(port)
            assert told.pop("since").startswith("20")
            assert told == {
                "status": "ok",
                "version": version("metta-sweep"),
                "queue": "metta-sweep",
                "connected": True,
            }
            os.kill(pid_in(elsewhere / "server/alive.lock"), signal.SIGKILL)
            until(lambda: asked(port)[0] == 503, "it is well without a server")
            _, told = asked(port)
            assert (told["status"], told["connected"]) == ("unavailable", False)
            assert (
                f"the Temporal server at {settings.connect['target_host']} does not answer" in told["reason"]
            )
            assert asked(port, "/livez")[0] == 200  # to start it anew would mend nothing
            assert asked(port, "/elsewhere")[0] == 404
            EmbeddedServer(elsewhere / "server").ensure()
            until(lambda: asked(port)[0] == 200, "it is not well with its server back")


def test_a_busy_address_is_named() -> None:
    address = Address("127.0.0.1", free_port())
    first = Health(address, "queue")
    with pytest.raises(DefinitionError, match=f"nothing can listen at {address}: Address already in use"):
        Health(address, "queue")
    first.close()


def test_a_worker_that_nobody_watches_goes_on_without_what_is_in_use(
    project: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy, free = Address("127.0.0.1", free_port()), Address("127.0.0.1", free_port())
    first = Health(busy, "queue")
    monkeypatch.setenv("METTA_SWEEP_METRICS", str(busy))
    monkeypatch.setenv("METTA_SWEEP_HEALTH", str(free))
    assert Endpoints.that_are_free() == Endpoints(None, free)
    told = f"this worker goes on without METTA_SWEEP_METRICS={busy}: Address already in use"
    assert [record.getMessage() for record in caplog.records] == [told]
    try:
        program(project, SWEEP, {"METTA_SWEEP_METRICS": str(busy)})
    finally:
        first.close()
    assert told in (project / ".metta-sweep/launches/told.log").read_text("utf-8")


def test_wrong_addresses_are_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METTA_SWEEP_HEALTH", "8080")
    with pytest.raises(DefinitionError) as raised:
        Endpoints.load(metrics="localhost:http")
    assert raised.value.problems == (
        "--metrics has to be HOST:PORT, such as 0.0.0.0:9090, got 'localhost:http'",
        "METTA_SWEEP_HEALTH has to be HOST:PORT, such as 0.0.0.0:9090, got '8080'",
    )


def test_hosts_are_numbers_names_or_ipv6_in_brackets() -> None:
    assert Address.parse("localhost:90").resolved()[1].host in ("127.0.0.1", "::1")
    assert Address.parse("[::1]:90") == Address("::1", 90)
    for wrong in ("::1:90", "host:0", "host:65536", ":90", ""):
        with pytest.raises(ValueError, match="HOST:PORT"):
            Address.parse(wrong)
