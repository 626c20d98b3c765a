import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from metta.sweep.client.launches import Launch
from metta.sweep.client.loop import call
from metta.sweep.client.settings import Settings
from metta.sweep.client.starts import Starts, code_here
from metta.sweep.contracts.attempts import Code
from metta.sweep.contracts.errors import DefinitionError


def test_what_another_process_needs_to_import_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    below = str(Path(sys.base_prefix) / "src/project")  # people keep code beside their Python, too
    monkeypatch.setattr(sys, "argv", ["train.py", "--epochs", "3"])
    monkeypatch.setattr(sys, "path", ["", "lib", below, *_python("-I")])
    code = code_here()
    assert (code.argv, code.cwd) == (("train.py", "--epochs", "3"), str(tmp_path))
    assert code.path == (str(tmp_path), str(tmp_path / "lib"), below)


@pytest.mark.parametrize(
    "said", [{"METTA_SWEEP_TRACES": "jaeger"}, {"METTA_SWEEP_TRACES": "otlp", "OTEL_BSP_MAX_QUEUE_SIZE": "0"}]
)
def test_what_cannot_be_begun_is_not_begun_by_later_commands(
    project: Path, monkeypatch: pytest.MonkeyPatch, said: dict[str, str]
) -> None:
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    starts = Starts()
    with pytest.raises(DefinitionError, match="the environment"):
        starts.begun("digits", "", lambda: starts.started("Sweep", "digits", Code(objective=""), "a sweep"))
    assert starts.launches.unfinished() == []
    assert not starts.launches.is_alive("digits")


def test_what_goes_on_goes_where_it_was(server: Settings, tmp_path: Path) -> None:
    starts = Starts(replace(server, home=tmp_path, queue="shared"))
    own, sent, forgotten, unknown = (f"{name}-{uuid4()}" for name in ("own", "sent", "forgotten", "unknown"))
    for name, queue in ((own, ""), (sent, "gpus")):  # nobody serves them
        assert call(starts.started("Sweep", name, Code(objective=""), "a sweep", queue))
    for name in (own, sent, forgotten):
        sleeping = Launch(queue=name, code=Code(objective=""), interpreter=str(_sleeper(tmp_path)))
        starts.launches.open_as(sleeping)
    try:
        assert starts.queue_of(own, None, goes_on=True) == ""
        assert starts.queue_of(sent, None, goes_on=True) == "gpus"
        assert starts.queue_of(forgotten, None, goes_on=True) == ""
        assert starts.queue_of(unknown, None, goes_on=True) == "shared"
        assert starts.queue_of(own, None, goes_on=False) == "shared"
        assert starts.queue_of(own, "cpus", goes_on=True) == "cpus"
        assert starts.queue_of(sent, "", goes_on=True) == ""
    finally:
        starts.launches.stop()


def _sleeper(folder: Path) -> Path:
    """An interpreter that does nothing."""
    file = folder / "python"
    file.write_text("#!/bin/sh\nexec sleep 60\n", "utf-8")
    file.chmod(0o755)
    return file


def _python(*options: str) -> list[str]:
    """What ``sys.path`` begins with."""
    command = [sys.executable, *options, "-c", "import json, sys; print(json.dumps(sys.path))"]
    found: list[str] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return [
        entry for entry in found if "editable" not in entry and not Path(entry).joinpath("metta").exists()
    ]
