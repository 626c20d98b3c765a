"""Settings: whether they can be read, and where they lead."""

from pathlib import Path
from typing import NamedTuple

from metta.sweep.client.environment import idle_problem, telemetry_mistakes
from metta.sweep.client.health.findings import Finding
from metta.sweep.client.server import NAMESPACE
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.stores.urls import HOME


class Led(NamedTuple):
    """Where the settings lead.

    Args:
        store: Settings that lead to the store; None when they do not.
        server: Settings that lead to the server; None when they do not.
        findings: What they say, and what is wrong with them.
    """

    store: Settings | None
    server: Settings | None
    findings: list[Finding]


def led() -> Led:
    """Where the settings of the current folder lead, as far as they can be read."""
    findings: list[Finding] = []
    store = server = None
    try:
        store = Settings.of_stores()
    except DefinitionError as error:
        findings += _wrong(error)
    try:
        server = (store or Settings(Path.cwd() / HOME)).connected()
    except DefinitionError as error:
        findings += _wrong(error)
    findings += [*_telemetry(), *_idle()]
    if store is None and server and server.is_embedded:  # its server lies in the store that nobody can tell
        server = None
    if store:
        findings.append(_said(f"the store is {store.address or store.home}"))
    if server:
        findings.append(_said(_where(server)))
    return Led(store, server, findings)


def namespace_of(settings: Settings) -> str:
    """The namespace in which a project's workflows run."""
    return NAMESPACE if settings.is_embedded else str(settings.connect.get("namespace") or "default")


def _telemetry() -> list[Finding]:
    """What is wrong with what a worker is told of its logs, traces and endpoints: most do not start then."""
    return [finding for error in telemetry_mistakes() for finding in _wrong(error, "Telemetry")]


def _idle() -> list[Finding]:
    """What is wrong with how long an unused server of the project's own lives: it does not start then."""
    problem = idle_problem()
    return _wrong(DefinitionError([problem], "the environment")) if problem else []


def _where(server: Settings) -> str:
    namespace = namespace_of(server)
    if server.is_embedded:
        return f"the server is the project's own, in {server.home / 'server'}, namespace {namespace}"
    return f"the server is {server.connect['target_host']}, namespace {namespace}"


def _said(text: str) -> Finding:
    return Finding(check="settings", code="settings", severity="note", text=text)


def _wrong(error: DefinitionError, guide: str = "With your own Temporal") -> list[Finding]:
    return [
        Finding(
            check="settings",
            code="settings-wrong",
            severity="problem",
            subject=error.subject,
            text=f"{error.subject}: {problem}",
            cure=f"correct it there; the guide '{guide}' lists all settings",
            command="sweep doctor",
        )
        for problem in error.problems
    ]
