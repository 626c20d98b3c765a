"""Settings that are wrong, as commands tell them."""

from pathlib import Path

import pytest

from tests.cli.commands import script
from tests.cli.conftest import Caller


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[tool", "error: {file}: it cannot be read: Expected ']' at the end of a table"),
        ("\xff", "error: {file}: it cannot be read: 'utf-8' codec can't decode byte 0xff"),
        ("[tool]\nmetta-sweep = 3", "error: {said}: it has to be a table, got 3\n"),
        ("[tool.metta-sweep]\nstroe = 'x'", "error: {said}: stroe is unknown; did you mean store?\n"),
        ("[tool.metta-sweep]\nstore = ''", "error: {said}: store: string should have at least 1 character"),
        (
            "[tool.metta-sweep]\nstore = 'ftp://a/b'",
            "error: the store: there is no kind of store for 'ftp://a/b'; known are folders, file:///folder",
        ),
        (
            "[tool.metta-sweep]\nstore = 'file://a'",
            "error: the store: write file:///folder, with three slashes, got 'file://a'\n",
        ),
        (
            "[tool.metta-sweep]\nworker.allow = ['x']",
            "error: {said}: worker.allow.0: input should be 'commands', 'scripts', 'by-value' or 'pickle'",
        ),
    ],
)
@pytest.mark.parametrize("command", ["ls", "diff one other", "export digits", "dev", "worker", "gc"])
def test_a_mistake_in_the_projects_file_is_told_by_every_command(
    project: Path, call: Caller, command: str, text: str, problem: str
) -> None:
    file = project / "pyproject.toml"
    file.write_bytes(text.encode("latin-1"))
    done = call(*command.split())
    file.write_text("", "utf-8")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(problem.format(file=file, said=f"[tool.metta-sweep] in {file}"))
    assert not (project / ".metta-sweep").exists()


@pytest.mark.parametrize(
    ("name", "value", "command", "code", "problem"),
    [
        ("STORE", "ftp://a", "show digits", 2, "the store: there is no kind of store for 'ftp://a'; known "),
        ("STORE", "s3://", "ls", 2, "the store: write s3://bucket/prefix, got 's3://': '' cannot be a "),
        ("STORE", "a-file", "show digits", 1, "{project}/a-file/sweeps/digits/ledger.jsonl cannot be read: "),
        ("STORE", "a-file", "export digits", 1, "{project}/a-file/sweeps/digits/ledger.jsonl cannot be "),
        ("STORE", "a-file", "run mine.py --debug --name digits", 1, "{project}/a-file/experiments/digits/"),
        ("ALLOW", "all", "worker", 2, "METTA_SWEEP_MODULES and METTA_SWEEP_ALLOW: allow.0: input should be "),
        ("MODULES", "a/b", "worker", 2, "METTA_SWEEP_MODULES and METTA_SWEEP_ALLOW: modules.0: write a mod"),
        ("METRICS", "9090", "worker", 2, "the worker: METTA_SWEEP_METRICS has to be HOST:PORT, such as "),
        ("HEALTH", "x:y", "worker", 2, "the worker: METTA_SWEEP_HEALTH has to be HOST:PORT, such as "),
        ("PORT", "http", "dev", 1, "METTA_SWEEP_PORT has to be a free port, got 'http': "),
        (
            "IDLE_S",
            "1h",
            "dev",
            2,
            "the environment: METTA_SWEEP_IDLE_S has to be a number of seconds, got '1h'",
        ),
    ],
)
def test_a_mistake_in_the_environment_is_told(
    project: Path,
    call: Caller,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
    command: str,
    code: int,
    problem: str,
) -> None:
    (project / "a-file").touch()
    (project / "mine.py").write_text(
        "from metta.sweep import Uniform\n"
        "from metta.sweep.experiments import SweepExperiment\n"
        "SweepExperiment(lambda params: {'a': 1.0}, {'x': Uniform(0, 1)}).run(1)\n",
        "utf-8",
    )
    monkeypatch.setenv(f"METTA_SWEEP_{name}", value)
    done = call(*command.split())
    monkeypatch.delenv(f"METTA_SWEEP_{name}")
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(f"error: {problem.format(project=project)}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["run mine.py", "start mine.py", "dev", "worker"])
def test_all_that_a_worker_could_not_work_with_is_told_where_it_would_be_started(
    project: Path, call: Caller, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    script(project)
    wrong = {"LOG": "yaml", "LOG_LEVEL": "loud", "TRACES": "jaeger", "METRICS": "9090", "HEALTH": "x:y"}
    wrong["IDLE_S"] = "1h"
    with monkeypatch.context() as patch:
        for name, value in wrong.items():
            patch.setenv(f"METTA_SWEEP_{name}", value)
        done = call(*command.split())
    assert (done.returncode, done.stdout) == (2, "defining\n" if "mine.py" in command else "")
    [first, *told] = done.stderr.splitlines()
    assert first.startswith("error: 6 mistakes in the environment:")
    assert [line.split()[-1] for line in told[:6]] == [repr(value) for value in wrong.values()]
    assert not (project / ".metta-sweep/launches").exists()


def test_a_wrong_time_after_which_the_server_ends_is_told_while_it_runs(
    project: Path, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(project)
    call.printed("run", "mine.py", "--name", "first")
    with monkeypatch.context() as patch:
        patch.setenv("METTA_SWEEP_IDLE_S", "1h")
        done = call("start", "mine.py", "--name", "second")
    assert done.returncode == 2
    assert (
        done.stderr == "error: the environment: METTA_SWEEP_IDLE_S has to be a number of seconds, got '1h'\n"
    )
    assert not (project / ".metta-sweep/launches/second.json").exists()


@pytest.mark.parametrize("command", ["ls", "show digits", "trials digits", "attach digits", "doctor"])
def test_temporals_own_configuration_that_cannot_be_read_is_told(
    project: Path, call: Caller, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    (project / "temporal.toml").write_text("[profile", "utf-8")
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(project / "temporal.toml"))
    done = call(*command.split())
    monkeypatch.delenv("TEMPORAL_CONFIG_FILE")
    said = "Temporal's configuration: it cannot be read: Configuration loading error: TOML parse error"
    if command == "doctor":  # which finds what others stumble over
        assert done.returncode == 1
        assert said in done.stdout
    else:
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"error: {said}")
