"""Looks at a project as `sweep doctor` takes them, and what to pick of what they find."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from metta.sweep.client.health import orphans, workers
from metta.sweep.client.health.examination import examined
from metta.sweep.client.health.findings import Code, Finding
from metta.sweep.client.settings import Settings


def lead(patch: pytest.MonkeyPatch, server: Settings, store: Path | None = None) -> None:
    """Let the environment lead to a server, and perhaps to a store."""
    patch.setenv("TEMPORAL_ADDRESS", str(server.connect["target_host"]))
    patch.setenv("TEMPORAL_NAMESPACE", str(server.connect["namespace"]))
    if store:
        patch.setenv("METTA_SWEEP_STORE", str(store))


def impatient(patch: pytest.MonkeyPatch) -> None:
    """Nothing is given time to come by itself."""
    patch.setattr(workers, "YOUNG_S", 0.0)
    patch.setattr(orphans, "UNBORN_S", 0.0)


def of(findings: Sequence[Finding], code: Code, subject: str = "") -> list[Finding]:
    """Those of a kind, about something."""
    return [f for f in findings if f.code == code and (not subject or f.subject == subject)]


async def look(code: Code, subject: str = "", fix: bool = False) -> list[Finding]:
    """What an examination finds of a kind."""
    return of(await examined(fix), code, subject)


def codes(findings: Sequence[Finding]) -> set[Code]:
    """What was found, but for facts."""
    return {finding.code for finding in findings if finding.severity != "note"}
