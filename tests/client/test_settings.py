import os
from pathlib import Path

import pytest

from metta.sweep.client.settings import Project, Settings
from metta.sweep.contracts.components import ComponentSpec
from metta.sweep.contracts.errors import DefinitionError


def write_settings(folder: Path, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text(text, "utf-8")


def test_the_store_lies_beside_the_nearest_pyproject(tmp_path: Path) -> None:
    write_settings(tmp_path, "[tool.metta-sweep]\nstore = 'far'")
    write_settings(tmp_path / "project", "[project]\nname = 'mine'")
    below = tmp_path / "project" / "src" / "package"
    below.mkdir(parents=True)
    assert Settings.load(below).home == tmp_path / "project" / ".metta-sweep"
    assert Settings.load(tmp_path).home == tmp_path / "far"


def test_without_a_pyproject_it_lies_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings.load().home == tmp_path / ".metta-sweep"


@pytest.mark.parametrize(
    ("said", "store"),
    [
        ("elsewhere", "{project}/elsewhere"),
        ("/data/sweeps", "/data/sweeps"),
        ("~/sweeps", "{home}/sweeps"),
        ("file:///data/my%20sweeps", "/data/my sweeps"),
        ("file://localhost/data", "/data"),
        ("a#b", "{project}/a#b"),
    ],
)
def test_a_store_is_a_path_or_a_file_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, store: str
) -> None:
    expected = Path(store.format(project=tmp_path, home=Path.home()))
    write_settings(tmp_path, f"[tool.metta-sweep]\nstore = '{said}'")
    assert Settings.load(tmp_path).home == expected
    write_settings(tmp_path, "[tool.metta-sweep]\nstore = 'overruled'")
    monkeypatch.setenv("METTA_SWEEP_STORE", said)
    assert Settings.load(tmp_path).home == expected


def test_a_store_elsewhere_leaves_the_server_and_the_workers_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_settings(tmp_path, "[tool.metta-sweep]\nstore = 's3://bucket/sweeps'")
    said = Settings.load(tmp_path)
    assert (said.home, said.address) == (tmp_path / ".metta-sweep", "s3://bucket/sweeps")
    assert said.store.address == "s3://bucket/sweeps"
    monkeypatch.setenv("METTA_SWEEP_STORE", "near")
    assert (Settings.load(tmp_path).home, Settings.load(tmp_path).address) == (tmp_path / "near", "")


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("file://host/data", "write file:///folder, with three slashes, got 'file://host/data'"),
        ("https://example.org", "there is no kind of store for 'https://example.org'; known are folders"),
    ],
)
def test_other_kinds_of_stores_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, problem: str
) -> None:
    monkeypatch.setenv("METTA_SWEEP_STORE", said)
    with pytest.raises(DefinitionError, match=f"the store: {problem}"):
        Settings.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        (
            "[tool.metta-sweep]\nstor = 'x'\nstore = 3",
            ["stor is unknown; did you mean store?", "store: input should be a valid string, got 3"],
        ),
        ("[tool.metta-sweep]\nstore = ''", ["store: string should have at least 1 character, got ''"]),
        (
            "[tool.metta-sweep]\nmetrik = 'x'\ngoal = 'max'\nresources = {cpus = 2}",
            [
                "metrik is unknown; did you mean metric?",
                "goal: input should be 'maximize' or 'minimize', got 'max'",
                "resources.cpus is unknown; did you mean cpu?",
            ],
        ),
        ("[tool]\nmetta-sweep = 'x'", ["it has to be a table, got 'x'"]),
        ("[tool", ["it cannot be read: "]),
    ],
)
def test_every_mistake_in_a_pyproject_is_told_with_its_file(
    tmp_path: Path, text: str, messages: list[str]
) -> None:
    write_settings(tmp_path, text)
    with pytest.raises(DefinitionError) as caught:
        Settings.load(tmp_path)
    for message in [*messages, str(tmp_path / "pyproject.toml")]:
        assert message in str(caught.value)


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    write_settings(tmp_path, "")
    (tmp_path / "pyproject.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(DefinitionError, match="it cannot be read: "):
        Settings.load(tmp_path)


def test_a_project_says_defaults_and_names_its_scripts_from_its_folder(tmp_path: Path) -> None:
    write_settings(
        tmp_path,
        "[tool.metta-sweep]\nobjective = 'lab/train.py:train'\nexecutor = {type = 'local', max_parallel = 2}",
    )
    (tmp_path / "below").mkdir()
    project = Project.find(tmp_path / "below")
    assert project.configuration.said == {
        "objective": f"{tmp_path}/lab/train.py:train",
        "executor": ComponentSpec(type="local", options={"max_parallel": 2}),
    }
    assert project.configuration.store == ".metta-sweep"


def test_without_temporals_configuration_a_server_is_embedded(tmp_path: Path) -> None:
    settings = Settings.load(tmp_path)
    assert settings.is_embedded
    assert settings.is_local


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("localhost:7233", True),
        ("127.0.0.1:7233", True),
        ("[::1]:7233", True),
        ("localhost", True),
        ("temporal.example.org:7233", False),
        ("localhost.example.org:7233", False),
    ],
)
def test_temporals_environment_says_which_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, local: bool
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", address)
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "mine")
    settings = Settings.load(tmp_path)
    assert settings.connect == {"target_host": address, "namespace": "mine"}
    assert not settings.is_embedded
    assert settings.is_local is local


def test_so_does_its_configuration_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "temporal.toml"
    file.write_text(
        '[profile.default]\naddress = "a.example.org:1"\n[profile.other]\naddress = "b:2"\n', "utf-8"
    )
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(file))
    assert Settings.load(tmp_path).connect["target_host"] == "a.example.org:1"
    monkeypatch.setenv("TEMPORAL_PROFILE", "other")
    assert Settings.load(tmp_path).connect["target_host"] == "b:2"


@pytest.mark.parametrize(("profile", "text"), [("none", "[profile.default]"), ("default", "[profile")])
def test_a_mistake_in_temporals_configuration_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, profile: str, text: str
) -> None:
    file = tmp_path / "temporal.toml"
    file.write_text(text, "utf-8")
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(file))
    monkeypatch.setenv("TEMPORAL_PROFILE", profile)
    with pytest.raises(DefinitionError, match="Temporal's configuration: it cannot be read: "):
        Settings.load(tmp_path)


def test_a_namespace_alone_names_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "mine")
    assert Settings.load(tmp_path).is_embedded
    assert os.environ["TEMPORAL_CONFIG_FILE"] == os.devnull


def test_an_empty_variable_says_that_there_is_no_shared_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_settings(tmp_path, "[tool.metta-sweep]\nqueue = 'gpus'")
    assert Settings.of_stores(tmp_path).queue == "gpus"
    monkeypatch.setenv("METTA_SWEEP_QUEUE", "cpus")
    assert Settings.of_stores(tmp_path).queue == "cpus"
    monkeypatch.setenv("METTA_SWEEP_QUEUE", "")
    assert Settings.of_stores(tmp_path).queue == ""
