import json
import subprocess
import sys
from pathlib import Path

import pytest

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


def _python(*options: str) -> list[str]:
    """What ``sys.path`` begins with."""
    command = [sys.executable, *options, "-c", "import json, sys; print(json.dumps(sys.path))"]
    found: list[str] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return [
        entry for entry in found if "editable" not in entry and not Path(entry).joinpath("metta").exists()
    ]
