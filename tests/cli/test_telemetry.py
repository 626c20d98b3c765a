"""What a worker is to say of itself, and cannot: told before anything else is said."""

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Caller

GRPC = "opentelemetry.exporter.otlp.proto.grpc.trace_exporter"

IN_USE = (
    "error: {}: nothing can listen at {}: Address already in use. Give another one, or end what uses it\n"
)


@pytest.fixture
def taken() -> Iterator[str]:
    """An address at which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize("name", ["health", "metrics"])
@pytest.mark.parametrize("more", [(), ("--json",)], ids=["text", "json"])
def test_an_address_that_is_in_use_is_told_with_the_option_that_gave_it(
    project: Path,
    call: Caller,
    monkeypatch: pytest.MonkeyPatch,
    taken: str,
    name: str,
    more: tuple[str, ...],
) -> None:
    monkeypatch.setenv(f"METTA_SWEEP_{name.upper()}", "127.0.0.1:1")  # which the option goes before
    done = call("worker", f"--{name}", taken, *more)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == IN_USE.format(f"--{name}", taken)


@pytest.mark.parametrize("command", ["worker", "worker --json", "dev", "dev --json"])
@pytest.mark.parametrize("name", ["METTA_SWEEP_HEALTH", "METTA_SWEEP_METRICS"])
def test_an_address_that_is_in_use_is_told_with_the_variable_that_gave_it(
    project: Path, call: Caller, monkeypatch: pytest.MonkeyPatch, taken: str, name: str, command: str
) -> None:
    monkeypatch.setenv(name, taken)
    done = call(*command.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == IN_USE.format(name, taken)


@pytest.mark.parametrize("option", ["--health", "--metrics"])
def test_an_address_of_another_machine_is_told(project: Path, call: Caller, option: str) -> None:
    done = call("worker", option, "192.0.2.1:9090")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        f"error: {option}: nothing can listen at 192.0.2.1:9090: Cannot assign requested address. "
    )


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("METTA_SWEEP_LOG=xml", "METTA_SWEEP_LOG has to be one of text, json, got 'xml'"),
        (
            "METTA_SWEEP_LOG_LEVEL=loud",
            "METTA_SWEEP_LOG_LEVEL has to be one of debug, info, warning, error, got 'loud'",
        ),
        ("METTA_SWEEP_TRACES=jaeger", "METTA_SWEEP_TRACES has to be one of console, otlp, got 'jaeger'"),
        (
            "METTA_SWEEP_TRACES=otlp OTEL_EXPORTER_OTLP_PROTOCOL=http/json",
            "OTEL_EXPORTER_OTLP_PROTOCOL has to be one of http/protobuf, grpc, got 'http/json'",
        ),
        (
            "METTA_SWEEP_TRACES=otlp OTEL_BSP_MAX_QUEUE_SIZE=0",
            "OTEL_BSP_MAX_QUEUE_SIZE=0: max_queue_size must be a positive integer.",
        ),
        (
            "METTA_SWEEP_TRACES=console OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT=many",
            "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT must be a non-negative integer but got many",
        ),
    ],
)
@pytest.mark.parametrize("command", ["worker", "worker --json", "dev", "dev --json"])
def test_a_variable_that_is_wrong_is_told(
    project: Path, call: Caller, monkeypatch: pytest.MonkeyPatch, command: str, said: str, problem: str
) -> None:
    for each in said.split():
        monkeypatch.setenv(*each.split("="))
    if command.startswith("worker"):
        monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:9")  # where nobody listens
    done = call(*command.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: the environment: {problem}\n"
    assert not (project / ".metta-sweep/server").exists()  # none was started only to hear that


def test_logs_that_are_wrong_in_two_ways_are_told_together(
    project: Path, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METTA_SWEEP_LOG", "xml")
    monkeypatch.setenv("METTA_SWEEP_LOG_LEVEL", "loud")
    done = call("worker")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "error: 2 mistakes in the environment:\n- METTA_SWEEP_LOG has to be one of "
    )


@pytest.mark.parametrize(
    ("missing", "said", "problem"),
    [
        (
            "opentelemetry",
            "METTA_SWEEP_TRACES=otlp",
            "the environment: METTA_SWEEP_TRACES=otlp needs OpenTelemetry: "
            'pip install "metta-sweep[telemetry]"',
        ),
        (
            GRPC,
            "METTA_SWEEP_TRACES=otlp OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
            "the environment: OTEL_EXPORTER_OTLP_PROTOCOL=grpc needs a package of its own: pip install"
            " opentelemetry-exporter-otlp-proto-grpc",
        ),
    ],
)
@pytest.mark.parametrize("command", ["run mine.py", "start mine.py", "worker", "dev"])
def test_what_is_not_installed_is_told_with_how_to_have_it(
    project: Path,
    call: Caller,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    missing: str,
    said: str,
    problem: str,
) -> None:
    (project / "mine.py").write_text(
        "from metta.sweep import Uniform\n"
        "from metta.sweep.experiments import SweepExperiment\n"
        "def train(params): return params['x']\n"
        "SweepExperiment(train, {'x': Uniform(0, 1)}, name='digits').run(1)\n",
        "utf-8",
    )
    for each in said.split():
        monkeypatch.setenv(*each.split("="))
    monkeypatch.setitem(sys.modules, missing, None)
    done = call(*command.split())
    for each in said.split():
        monkeypatch.delenv(each.split("=")[0])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {problem}\n"
    assert call.json("ls") == []  # nothing was begun
