"""Servers that are gone, mute, or without the namespace; the rest is checked, and it never hangs."""

import os
import shlex
import signal
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic

import pytest

from metta.sweep.client.connection import connect
from metta.sweep.client.health import server as asked
from metta.sweep.client.health.examination import examined
from metta.sweep.client.health.findings import CHECKS
from metta.sweep.client.launches import Launches
from metta.sweep.client.locks import is_held
from metta.sweep.client.server import HOST, EmbeddedServer, ServerInfo
from metta.sweep.client.settings import Settings
from tests.client.health.looks import codes, lead, look, of
from tests.rig import code_in, pid_in, until

UNCHECKED = ["search attributes", "workers", "orphans", "stuck workflows"]


@pytest.mark.parametrize("is_mute", [True, False])
async def test_a_server_that_is_gone_or_mute_is_a_finding_in_time(
    project: Path, monkeypatch: pytest.MonkeyPatch, is_mute: bool
) -> None:
    monkeypatch.setattr(asked, "ANSWER_S", 1.0)
    with socket.create_server((HOST, 0)) as listener:
        if not is_mute:
            listener.close()
            port = 1
        else:
            port = listener.getsockname()[1]
        lead(monkeypatch, Settings(project, {"target_host": f"{HOST}:{port}", "namespace": "n"}))
        began = monotonic()
        found = await examined()
        assert monotonic() - began < 10
    [silent] = of(found, "server-silent")
    assert silent.text.startswith(f"the server at {HOST}:{port} cannot be used: ")
    assert "TEMPORAL_ADDRESS" in silent.cure
    assert silent.command == f"temporal operator cluster health --address {HOST}:{port}"
    assert [finding.check for finding in of(found, "not-checked")] == UNCHECKED
    assert len(of(found, "store-absent")) == 1
    monkeypatch.delenv("TEMPORAL_ADDRESS")


@pytest.mark.parametrize("address", ["127.0.0.1:notaport", "a b:1", ":"])
async def test_an_address_that_is_none_is_a_finding(
    project: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    lead(monkeypatch, Settings(project, {"target_host": address, "namespace": "n"}))
    found = await examined()
    [silent] = of(found, "server-silent")
    assert silent.text.startswith(f"the server at {address} cannot be used: invalid target URL: ")
    assert shlex.split(silent.command)[-1] == address
    assert [finding.check for finding in of(found, "not-checked")] == UNCHECKED
    monkeypatch.delenv("TEMPORAL_ADDRESS")


@pytest.mark.parametrize(
    ("broken", "checks"),
    [
        ("led", [*CHECKS]),
        ("store_found", ["store"]),
        ("answer_of", ["server", *UNCHECKED]),
        ("attributes_found", ["search attributes"]),
        ("runs_of", ["workers", "orphans", "stuck workflows"]),
        ("idle_launches", ["orphans"]),
        ("stuck_found", ["stuck workflows"]),
    ],
)
async def test_what_nobody_foresaw_is_told_and_keeps_no_other_check_from_being_made(
    project: Path, server: Settings, monkeypatch: pytest.MonkeyPatch, broken: str, checks: list[str]
) -> None:
    def fails(*given: object) -> None:
        raise KeyError("a field that there was")

    lead(monkeypatch, server)
    monkeypatch.setattr(f"metta.sweep.client.health.examination.{broken}", fails)
    found = await examined()
    unchecked = of(found, "not-checked")
    assert [finding.check for finding in unchecked] == checks
    assert unchecked[0].text == f"{checks[0]} could not be checked: KeyError: 'a field that there was'"
    assert {finding.check for finding in found} == {*CHECKS}
    monkeypatch.delenv("TEMPORAL_ADDRESS")


async def test_a_namespace_that_is_missing_is_told_with_what_makes_it(
    project: Path, server: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    lead(monkeypatch, Settings(project, {**server.connect, "namespace": "nowhere"}))
    [missing] = await look("namespace-missing", "nowhere")
    assert missing.command == "temporal operator namespace create --retention 30d --namespace nowhere"
    monkeypatch.delenv("TEMPORAL_ADDRESS")


async def test_the_embedded_server_is_not_started_only_to_say_that_it_does_not_run(project: Path) -> None:
    found = await examined()
    assert len(of(found, "server-stopped")) == 1
    assert codes(found) == set()
    assert not (project / ".metta-sweep").exists()


async def killed_with(project: Path, work: Callable[[Launches], Awaitable[None]]) -> EmbeddedServer:
    """The server of a project, killed when there is some work."""
    settings = Settings.load()
    await connect(settings)
    launches = Launches(settings.home)
    await work(launches)
    launches.stop()
    os.kill(pid_in(settings.home / "server/alive.lock"), signal.SIGKILL)
    await until(lambda: not is_held(settings.home / "server/alive.lock"))
    return EmbeddedServer(settings.home / "server")


async def test_a_killed_server_with_unfinished_work_is_told_and_started(project: Path) -> None:
    async def launched(launches: Launches) -> None:
        launches.open("digits", code_in(project))

    server = await killed_with(project, launched)
    found = await examined()
    [lost] = of(found, "server-lost")
    assert lost.text.endswith("though work is unfinished: digits")
    started = server.find()
    assert started
    assert lost.fixed == f"started it at {started.address}"
    assert of(found, "server-silent") == []
    assert any(finding.check == "stuck workflows" and finding.code == "healthy" for finding in found)


async def test_a_killed_server_without_work_is_left_alone(project: Path) -> None:
    async def nothing(launches: Launches) -> None:
        pass

    server = await killed_with(project, nothing)
    assert codes(await examined()) == set()
    assert server.find() is None


async def test_an_embedded_server_that_hangs_is_told_with_what_ends_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked, "ANSWER_S", 1.0)
    settings = Settings.load()
    await connect(settings)
    pid = pid_in(settings.home / "server/alive.lock")
    os.kill(pid, signal.SIGSTOP)
    [silent] = await look("server-silent")
    os.kill(pid, signal.SIGCONT)
    assert silent.command == "sweep dev --stop"


async def test_a_port_that_somebody_else_took_is_told(project: Path) -> None:
    async def launched(launches: Launches) -> None:
        launches.open("digits", code_in(project))

    await killed_with(project, launched)
    info = ServerInfo.model_validate_json((project / ".metta-sweep/server/server.json").read_bytes())
    with socket.create_server((HOST, info.port)):
        [silent] = await look("server-silent")
    assert f"port {info.port} of this project's Temporal server is taken" in silent.text
    assert silent.cure == "do what it says; any command then starts it"
