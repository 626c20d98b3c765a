"""Settings that cannot be read, and what is checked all the same."""

from pathlib import Path

import pytest

from metta.sweep.client.health.examination import examined
from metta.sweep.client.settings import Settings
from tests.client.health.looks import codes, lead, of


async def test_every_mistake_in_pyproject_is_told_and_the_server_is_checked(
    project: Path, server: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "pyproject.toml").write_text("[tool.metta-sweep]\nstor = 'x'\npickle = 'often'\n", "utf-8")
    lead(monkeypatch, server)
    found = await examined()
    told = [finding.text for finding in of(found, "settings-wrong")]
    where = f"[tool.metta-sweep] in {project / 'pyproject.toml'}"
    assert len(told) == 2
    assert f"{where}: stor is unknown; did you mean store?" in told
    assert "store could not be checked: nobody can tell where it is" in [f.text for f in found]
    assert any(f"{server.connect['target_host']} answers" in f.text for f in found)
    (project / "pyproject.toml").write_text("", "utf-8")  # for the end of the test


async def test_a_wrong_configuration_of_temporal_is_told_and_the_store_is_checked(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporal.toml").write_text("[profile.default\n", "utf-8")
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(tmp_path / "temporal.toml"))
    found = await examined()
    [wrong] = of(found, "settings-wrong")
    assert wrong.text.startswith("Temporal's configuration: it cannot be read: ")
    assert len(of(found, "store-absent")) == 1
    assert codes(found) == {"settings-wrong", "not-checked"}
    monkeypatch.delenv("TEMPORAL_CONFIG_FILE")


async def test_it_is_told_where_settings_lead(
    project: Path, server: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = [finding.text for finding in of(await examined(), "settings")]
    assert told == [
        f"the store is {project / '.metta-sweep'}",
        f"the server is the project's own, in {project / '.metta-sweep/server'}, namespace metta-sweep",
    ]
    lead(monkeypatch, server, project / "other")
    told = [finding.text for finding in of(await examined(), "settings")]
    assert told == [
        f"the store is {project / 'other'}",
        f"the server is {server.connect['target_host']}, namespace metta-sweep",
    ]
    monkeypatch.delenv("TEMPORAL_ADDRESS")


async def test_a_mistake_in_how_long_an_unused_server_lives_is_told(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METTA_SWEEP_IDLE_S", "1h")
    [told] = of(await examined(), "settings-wrong")
    assert told.text == "the environment: METTA_SWEEP_IDLE_S has to be a number of seconds, got '1h'"


async def test_every_mistake_in_what_workers_are_told_of_logs_traces_and_endpoints_is_told(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = {
        "METTA_SWEEP_LOG": "yaml",
        "METTA_SWEEP_LOG_LEVEL": "loud",
        "METTA_SWEEP_TRACES": "paper",
        "METTA_SWEEP_METRICS": "9090",
        "METTA_SWEEP_HEALTH": "lab:http",
    }
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    told = of(await examined(), "settings-wrong")
    assert [finding.text.split(": ", 1)[1].split()[0] for finding in told] == [*wrong]
    assert [value in finding.text for value, finding in zip(wrong.values(), told, strict=True)] == [True] * 5
    assert all("'Telemetry'" in finding.cure for finding in told)
