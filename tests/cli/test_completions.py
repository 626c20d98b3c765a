"""What shells complete, by the protocol of their scripts, and in a real bash."""

import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from metta.sweep.cli import completions
from metta.sweep.contracts.outcomes import Line, StageEnded
from metta.sweep.contracts.plans import At, Outcome
from metta.sweep.contracts.values import Value
from metta.sweep.stores.files import FileStore
from tests.cli.conftest import Caller
from tests.cli.records import begun, damaged, recorded

Complete: TypeAlias = Callable[[str], list[str]]

LIMIT_S = 0.3
"""A wait that is no burden."""


@pytest.fixture
def complete(call: Caller, monkeypatch: pytest.MonkeyPatch) -> Complete:
    """The words that bash offers when a key is pressed behind a line; nothing else may be printed."""
    monkeypatch.setenv("_SWEEP_COMPLETE", "complete_bash")

    def complete(line: str) -> list[str]:
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
        done = call()
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.split()

    return complete


@pytest.fixture
def lab(project: Path) -> Path:
    """A project with two sweeps of three trials, an experiment that has turned twice, and another one."""
    recorded(project, "digits")
    recorded(project, "dunes")
    begun(project, "talk")
    begun(project, "deeds")
    log = FileStore(project / ".metta-sweep").outcome_log("talk")
    list(log.read())
    ends = [_ended("load"), _ended("refine/train", 0), _ended("refine/train", 1)]
    log.commit(Line(n=1, writer="w", entries=tuple(ends)))
    log.close()
    return project


def _ended(path: str, *turns: int) -> StageEnded:
    at = At(path, turns)
    return StageEnded(recorded=2.0, at=at, outcome=Outcome(stage=str(at), status="done"), value=Value())


@pytest.mark.parametrize(
    "command",
    [
        *("attach", "retry", "show", "watch", "logs", "replay", "diff", "export"),
        *("budget", "pause", "resume", "stop", "gc"),
    ],
)
def test_names_of_sweeps_and_experiments_are_completed(lab: Path, complete: Complete, command: str) -> None:
    assert complete(f"sweep {command} ") == ["digits", "dunes", "deeds", "talk"]
    assert complete(f"sweep {command} di") == ["digits"]
    assert not (lab / ".metta-sweep/server").exists()


@pytest.mark.parametrize("command", ["trials", "concurrency"])
def test_where_only_a_sweep_will_do_no_experiment_is_offered(
    lab: Path, complete: Complete, command: str
) -> None:
    assert complete(f"sweep {command} d") == ["digits", "dunes"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("sweep diff digits ", "dunes"),
        ("sweep diff talk ", "deeds"),
        ("sweep diff nobody ", ""),
        ("sweep watch digits talk ", "dunes deeds"),
        ("sweep gc --delete dunes d", "digits deeds"),
        ("sweep trials digits ", "0 1 2"),
        ("sweep logs digits 1", "1"),
        ("sweep logs nobody ", ""),
        ("sweep retry talk --from-stage ", "load refine/train refine/train[0] refine/train[1]"),
        ("sweep replay talk --stage refine/train[", "refine/train[0] refine/train[1]"),
        ("sweep retry --from-stage ", ""),
        ("sweep export digits --format ", "csv jsonl parquet"),
        ("sweep export digits --format=p", "parquet"),
        ("sweep trials digits --status ", "running paused completed failed stopped"),
        ("sweep trials digits --status failed --status c", "completed"),
        ("sweep worker my_lab --allow ", "commands scripts by-value pickle"),
        ("sweep budget digits --lift ", "trials hours seconds target epochs cost"),
        ("sweep pause digits --n", "--now"),
        ("sweep conc", "concurrency"),
        ("sweep trials digits --limit many ", "0 1 2"),
    ],
)
def test_what_may_come_next_is_completed(lab: Path, complete: Complete, line: str, words: str) -> None:
    assert complete(line) == words.split()


def test_stages_whose_log_can_be_shown_are_those_that_printed(lab: Path, complete: Complete) -> None:
    logs = lab / ".metta-sweep/experiments/talk/logs"
    (logs / "refine").mkdir(parents=True)
    for name in ("load.txt", "refine/train.txt", "@worker.txt"):
        (logs / name).touch()
    assert complete("sweep logs talk ") == ["load", "refine/train"]


def test_of_many_trials_the_first_that_fit_are_offered(
    lab: Path, complete: Complete, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completions, "TRIALS", 2)
    assert complete("sweep trials digits ") == ["0", "1"]
    assert complete("sweep trials digits 2") == ["2"]


@pytest.mark.parametrize(
    ("settings", "variables"),
    [
        ("[tool.metta-sweep\n", {}),
        ("[tool.metta-sweep]\nstorr = 'x'\n", {}),
        ("", {"METTA_SWEEP_STORE": "ftp://lab/x"}),
        ("", {"METTA_SWEEP_STORE": "s3://x"}),
        ("", {"METTA_SWEEP_STORE": "/dev/null"}),
        ("", {"METTA_SWEEP_STORE": "s3://lab/x", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}),
    ],
    ids=["no TOML", "unknown setting", "no store", "no bucket", "no folder", "away"],
)
def test_where_settings_or_store_are_wrong_nothing_is_completed_or_told(
    project: Path,
    complete: Complete,
    monkeypatch: pytest.MonkeyPatch,
    settings: str,
    variables: dict[str, str],
) -> None:
    (project / "pyproject.toml").write_text(settings, "utf-8")
    with monkeypatch.context() as patch:  # undone before the project is tidied up
        once = {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "mine", "AWS_MAX_ATTEMPTS": "1"}
        for name, value in {**variables, **once}.items():
            patch.setenv(name, value)
        for line in ("show ", "trials digits ", "diff digits ", "logs digits ", "retry talk --from-stage "):
            assert complete(f"sweep {line}") == []
    (project / "pyproject.toml").write_text("", "utf-8")


def test_what_is_damaged_has_a_name_and_nothing_else(project: Path, complete: Complete) -> None:
    damaged(project)
    assert complete("sweep show ") == ["hurt", "torn"]
    assert complete("sweep trials hurt ") == complete("sweep retry torn --from-stage ") == []


@pytest.fixture
def _silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A bucket on a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        variables = {
            "METTA_SWEEP_STORE": "s3://lab/x",
            "AWS_ENDPOINT_URL": address,
            "AWS_ACCESS_KEY_ID": "me",
            "AWS_SECRET_ACCESS_KEY": "mine",
        }
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        yield


@pytest.mark.usefixtures("_silent", "project")
def test_a_store_that_hangs_is_not_waited_for(complete: Complete, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completions, "LIMIT_S", LIMIT_S)
    assert complete("sweep show ") == []


def test_zsh_gets_words_with_what_they_are(lab: Path, call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_SWEEP_COMPLETE", "complete_zsh")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "sweep show d")
    words = '"digits":"sweep"\n"dunes":"sweep"\n"deeds":"experiment"'
    assert call.printed() == f"_arguments '*: :(({words}))'\n"
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "sweep trials digits --status ")
    assert '"paused"' in call.printed()
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "sweep show nobody")
    assert call.printed() == "_files\n"


def test_fish_asks_whether_there_are_words_and_then_for_them(
    lab: Path, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_SWEEP_COMPLETE", "complete_fish")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "sweep trials digits ")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    assert call.printed() == "0\tcompleted\n1\tcompleted\n2\tcompleted\n"
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "is-args")
    assert call().returncode == 0
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "sweep trials nobody ")
    assert (call().returncode, call().stdout) == (1, "")


def in_bash(script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """What a bash does that finds the command."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "--norc", "-euc", script],
        env={**os.environ, "PATH": path, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


PRESSED = """
COMP_WORDS=(sweep diff digits d) COMP_CWORD=3
_sweep_completion sweep
printf '%s\n' "${COMPREPLY[@]}"
complete -p sweep
"""
"""What bash does when a key is pressed, and what it knows of the command."""


def test_bash_completes_with_the_script_that_is_shown(lab: Path) -> None:
    done = in_bash(f"source <(sweep --show-completion bash)\n{PRESSED}")
    known = "complete -o default -F _sweep_completion sweep"
    assert (done.stdout, done.stderr) == (f"dunes\n{known}\n", "")


def test_what_is_installed_is_there_in_the_next_bash(lab: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    installed = in_bash("sweep --install-completion; true", HOME=str(home))
    assert "bash completion installed in" in installed.stdout
    assert in_bash(f"source ~/.bashrc\n{PRESSED}", HOME=str(home)).stdout.startswith("dunes\n")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_a_script_for_another_shell_asks_by_its_protocol(project: Path, shell: str) -> None:
    """No shell is looked for among the parents of the process, where none of them is this one."""
    done = in_bash(
        f"sweep --show-completion {shlex.quote(shell)}", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1"
    )
    assert f"_SWEEP_COMPLETE=complete_{shell}" in done.stdout
    assert done.stderr == ""
