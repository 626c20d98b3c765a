"""The server: whether it answers, which version it is, and whether it knows the namespace."""

import asyncio
from datetime import timedelta
from shlex import join, quote
from time import monotonic
from typing import Any, NamedTuple

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, GetSystemInfoRequest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError, RPCStatusCode

from metta.sweep.client.health.findings import Finding, healthy, not_checked
from metta.sweep.client.health.limits import RPC, within
from metta.sweep.client.health.places import LaunchesHere
from metta.sweep.client.health.settings import namespace_of
from metta.sweep.client.locks import is_held
from metta.sweep.client.server import START_S, EmbeddedServer
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.errors import ServerError
from metta.sweep.contracts.wording import duration_text

ANSWER_S = 10.0
"""A server that has just been started can do everything by then."""

POLL_S = 0.1

SHORT = timedelta(days=3)
"""What is forgotten sooner is gone before anybody comes back from a weekend."""


class Answer(NamedTuple):
    """What came of asking for the server.

    Args:
        client: A connection; None when there is none.
        address: Where the server is; empty where that is not known.
        findings: What was found.
    """

    client: Client | None
    address: str
    findings: list[Finding]


async def answer_of(settings: Settings) -> Answer:
    """Ask the server for its version and the namespace.

    The embedded one is started when work is unfinished, as any command does, and only then.

    Args:
        settings: Which server.
    """
    findings: list[Finding] = []
    address = str(settings.connect.get("target_host", ""))
    if settings.is_embedded:
        try:
            found = await within(START_S + ANSWER_S, lambda: _embedded(settings, findings))
        except (ServerError, TimeoutError) as error:
            findings.append(_unstartable(settings, str(error) or "it does not start in time"))
            return Answer(None, "", findings)
        except OSError as error:  # its files cannot be worked with
            findings.append(not_checked("server", str(error)))
            return Answer(None, "", findings)
        if not found:
            return Answer(None, "", findings)
        address = found
    try:
        client, version = await _connected(settings, address)
    except (ValueError, RuntimeError, RPCError, TimeoutError) as error:  # the first where it is no address
        why = str(error) or f"it does not answer within {ANSWER_S:g} s"
        findings.append(_silent(address, why, settings))
        return Answer(None, address, findings)
    findings.append(healthy("server", f"the server at {address} answers; it is Temporal {version}", address))
    try:
        findings += await _namespace(client, settings, address)
    except (RPCError, TimeoutError) as error:
        if isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND:
            findings.append(_missing(client.namespace, command_of(settings, address)))
        else:
            findings.append(_silent(address, str(error) or "it does not answer in time", settings))
        return Answer(None, address, findings)
    return Answer(client, address, findings)


def command_of(settings: Settings, address: str) -> str:
    """Arguments with which the command ``temporal`` reaches the same server; others it finds as we do."""
    where = ["--address", address] if settings.is_embedded else []
    return join([*where, "--namespace", namespace_of(settings)])


def _embedded(settings: Settings, findings: list[Finding]) -> str:
    """Address of the project's own server; empty when it does not run and need not."""
    server, launches = EmbeddedServer(settings.home / "server"), LaunchesHere(settings)
    found = server.find()
    if found:
        return found.address
    unfinished = launches.unfinished()
    if not unfinished and not is_held(settings.home / "server" / "alive.lock"):
        text = "the project's own server does not run, and need not: no work is unfinished"
        findings.append(Finding(check="server", code="server-stopped", severity="note", text=text))
        return ""
    started = server.ensure()
    lost = Finding(
        check="server",
        code="server-lost",
        severity="problem",
        subject=str(settings.home / "server"),
        text=f"the project's own server did not run, though work is unfinished: {', '.join(unfinished)}",
        cure="any command starts it again, on the same port; why it died may stand in its log",
        command=f"tail {quote(str(settings.home / 'server' / 'server.log'))}",
    )
    findings.append(lost.mended(f"started it at {started.address}"))
    return started.address


async def _connected(settings: Settings, address: str) -> tuple[Client, str]:
    """A connection, and the version of the server."""
    options: dict[str, Any] = {
        "data_converter": pydantic_data_converter,
        **settings.connect,
        "target_host": address,
        "namespace": namespace_of(settings),
    }
    deadline = monotonic() + ANSWER_S
    while True:
        try:
            async with asyncio.timeout(ANSWER_S):
                client = await Client.connect(**options)
                info = await client.workflow_service.get_system_info(GetSystemInfoRequest(), timeout=RPC)
                return client, info.server_version
        except (RuntimeError, RPCError):  # it opens its port before it can do everything
            if not settings.is_embedded or monotonic() > deadline:
                raise
            await asyncio.sleep(POLL_S)


async def _namespace(client: Client, settings: Settings, address: str) -> list[Finding]:
    request = DescribeNamespaceRequest(namespace=client.namespace)
    found = await client.workflow_service.describe_namespace(request, timeout=RPC)
    kept = found.config.workflow_execution_retention_ttl.ToTimedelta()
    if kept >= SHORT:
        text = f"the namespace {client.namespace} keeps what is over for {kept.days} days"
        return [healthy("server", text, client.namespace)]
    return [
        Finding(
            check="server",
            code="retention-short",
            severity="warning",
            subject=client.namespace,
            text=(
                f"the namespace {client.namespace} forgets what is over after"
                f" {duration_text(kept.total_seconds())}: its history and page are gone then, not its record"
            ),
            cure="let it be kept for longer",
            command=f"temporal operator namespace update --retention 30d {command_of(settings, address)}",
        )
    ]


def _missing(namespace: str, where: str) -> Finding:
    return Finding(
        check="server",
        code="namespace-missing",
        severity="problem",
        subject=namespace,
        text=f"the server does not know the namespace {namespace}",
        cure="correct TEMPORAL_NAMESPACE, or make it",
        command=f"temporal operator namespace create --retention 30d {where}",
    )


def _unstartable(settings: Settings, why: str) -> Finding:
    log = settings.home / "server" / "server.log"
    return Finding(
        check="server",
        code="server-silent",
        severity="problem",
        subject=str(settings.home / "server"),
        text=f"work is unfinished, and the project's own server neither runs nor can be started: {why}",
        cure="do what it says; any command then starts it",
        command=f"tail {quote(str(log))}" if log.exists() else "sweep doctor",
    )


def _silent(address: str, why: str, settings: Settings) -> Finding:
    if settings.is_embedded:
        cure, command = "end it, and the next command starts it again", "sweep dev --stop"
    else:
        cure = "see that it runs, and that TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE and temporal.toml are right"
        command = f"temporal operator cluster health --address {quote(address)}"
    return Finding(
        check="server",
        code="server-silent",
        severity="problem",
        subject=address,
        text=f"the server at {address} cannot be used: {why}",
        cure=cure,
        command=command,
    )
