"""Traces, as a collector gets them from real clients, workers, trials and stages."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from temporalio.worker import Worker

from metta.sweep.client.connection import connect
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.stores.files import FileStore
from metta.sweep.telemetry.providers import BATCHES, Provider
from metta.sweep.telemetry.tracing import interceptors
from metta.sweep.worker import MettaSweepPlugin
from tests.rig import OBJECTIVES, Rig, code_in, definition
from tests.telemetry.collector import Collector
from tests.telemetry.conftest import kill_worker, program, running, until

SWEEP = """\
from opentelemetry import trace

from metta.sweep import Uniform
from metta.sweep.experiments import SweepExperiment


def train(params):
    with trace.get_tracer("mine").start_as_current_span("epoch"):
        if params["x"] > 0.9:
            raise ValueError("too large")
        return {"score": params["x"]}


points = [{"x": 0.95}, {"x": 0.25}, {"x": 0.5}]
sweep = SweepExperiment(train, {"x": Uniform(0, 1)}, name="traced", goal="maximize", initial_points=points)
sweep.run(budget=3)
"""

JOB = """\
import os
from pathlib import Path
from time import sleep

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from metta.sweep.trial import current_trial

provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
above = TraceContextTextMapPropagator().extract({"traceparent": os.environ["TRACEPARENT"]})
with provider.get_tracer("mine").start_as_current_span("epoch", above):
    Path("begun").touch()
    while Path("gate").exists():
        sleep(0.05)
    current_trial().report(1, score=1.0)
"""

JOBS = """\
from metta.sweep import Uniform
from metta.sweep.experiments import SweepExperiment

sweep = SweepExperiment("job.py", {"x": Uniform(0, 1)}, metric="score", seed=1, name="jobs")
if __name__ == "__main__":
    sweep.run(budget=1)
"""

PIPELINE = """\
from opentelemetry import trace

from metta.sweep.experiments.base import Pipeline


def load() -> int:
    with trace.get_tracer("mine").start_as_current_span("reading"):
        return 3


def double(number: int) -> int:
    return 2 * number


Pipeline().stage("load", load).through(number=int).stage("double", double).run(name="staged")
"""

BESIDE = """\
import asyncio
import json
import os
import sys

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from temporalio.client import Client
from temporalio.contrib.opentelemetry import OpenTelemetryPlugin, TracingInterceptor, create_tracer_provider
from temporalio.worker import Worker

from metta.sweep.contracts.attempts import Code
from metta.sweep.worker import MettaSweepPlugin

kind, address, namespace, definition = sys.argv[1:]
exporter = InMemorySpanExporter()
provider = create_tracer_provider() if kind == "plugin" else TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)


async def main() -> None:
    ours = MettaSweepPlugin("store", Code(objective="", path=(os.getcwd(),)), modules=["*"])
    plugins = [ours, OpenTelemetryPlugin(add_temporal_spans=True)] if kind == "plugin" else [ours]
    interceptors = [] if kind == "plugin" else [TracingInterceptor()]
    client = await Client.connect(address, namespace=namespace, plugins=plugins, interceptors=interceptors)
    async with Worker(client, task_queue=kind):
        await client.execute_workflow("Sweep", json.loads(definition), id=f"beside-{kind}", task_queue=kind)


asyncio.run(main())
spans = exporter.get_finished_spans()
names = {span.context.span_id: span.name for span in spans}
print([names[span.parent.span_id] for span in spans if span.name == "RunAttempt"], flush=True)
os._exit(0)  # threads of the engine's client may abort a Python that ends: temporalio/sdk-python#300
"""

GRPC = "opentelemetry.exporter.otlp.proto.grpc.trace_exporter"

ATTEMPT_OF_A_JOB = [
    "StartWorkflow:Sweep",
    "StartChildWorkflow:Trial",
    "StartActivity:run_trial",
    "RunActivity:run_trial",
    "RunAttempt",
]


def test_a_trial_is_a_span_below_the_call_that_started_its_sweep(project: Path, collector: Collector) -> None:
    program(project, SWEEP, collector.environment)
    attempts = collector.awaited("RunAttempt", 3)
    above = ["StartWorkflow:Sweep", "StartActivity:run_search_session", "RunActivity:run_search_session"]
    for epoch in collector.awaited("epoch", 3):
        assert collector.path(epoch) == [*above, "RunAttempt", "epoch"]
    assert collector.path(collector.awaited("RunWorkflow:Sweep", 1)[0]) == [above[0], "RunWorkflow:Sweep"]
    assert len({span.trace for span in attempts}) == 1
    told = {span.attributes["metta.trial"]: span for span in attempts}
    assert sorted(told) == [0, 1, 2]
    assert told[1].attributes == {
        "metta.sweep": "traced",
        "metta.trial": 1,
        "metta.segment": 0,
        "metta.attempt": 1,
        "metta.params": 1,
        "metta.outcome": "completed",
    }
    assert (told[0].attributes["metta.outcome"], told[0].attributes["metta.failure"]) == ("failed", "user")
    assert [span.is_error for _, span in sorted(told.items())] == [True, False, False]
    assert {span.service for span in collector.spans} == {"metta-sweep"}
    assert not [span for span in collector.spans if "Query" in span.name]  # one a second would bury all else


def test_on_the_console_each_span_is_a_line_beside_what_the_program_prints(project: Path) -> None:
    text = SWEEP.replace("sweep.run(budget=3)", "print(sweep.run(budget=3).best_metric)")
    log = project / ".metta-sweep/launches/traced.log"
    with running(project, text, {"METTA_SWEEP_TRACES": "console"}) as process:
        printed, said = process.communicate(timeout=50)
    assert (process.returncode, printed) == (0, "0.5\n"), said
    [start] = _spans_in(said, "StartWorkflow:Sweep")
    until(lambda: len(_spans_in(log.read_text("utf-8"), "RunAttempt")) == 3, "no spans in the worker's log")
    attempts = _spans_in(log.read_text("utf-8"), "RunAttempt")
    assert {span["context"]["trace_id"] for span in attempts} == {start["context"]["trace_id"]}
    told = {span["attributes"]["metta.trial"]: span["attributes"]["metta.outcome"] for span in attempts}
    assert told == {0: "failed", 1: "completed", 2: "completed"}


def _spans_in(lines: str, name: str) -> list[dict[str, Any]]:
    """Spans of a name among other lines."""
    spans = (json.loads(line) for line in lines.splitlines() if line.startswith('{"name"'))
    return [span for span in spans if span["name"] == name]


def test_a_job_is_a_span_and_its_own_are_below_it(project: Path, collector: Collector) -> None:
    (project / "job.py").write_text(JOB, "utf-8")
    program(project, JOBS, collector.environment)
    [attempt] = collector.awaited("RunAttempt", 1)
    assert attempt.attributes["metta.outcome"] == "completed"
    [epoch] = collector.awaited("epoch", 1)
    assert collector.path(epoch) == [*ATTEMPT_OF_A_JOB, "epoch"]


def test_a_job_that_outlives_its_worker_is_the_span_it_was_told(project: Path, collector: Collector) -> None:
    (project / "job.py").write_text(JOB, "utf-8")
    gate = project / "gate"
    gate.touch()
    with running(project, JOBS, collector.environment) as process:
        until((project / "begun").exists, "the job has not begun")
        kill_worker(project, "jobs")
        until(lambda: len(_serving(project, "jobs")) > 1, "no other worker came")
        gate.unlink()
        _, said = process.communicate(timeout=40)
        assert process.returncode == 0, said
    [epoch] = collector.awaited("epoch", 1)
    collector.awaited("RunAttempt", 1)
    assert collector.path(epoch) == [*ATTEMPT_OF_A_JOB, "epoch"]


def _serving(folder: Path, launch: str) -> list[str]:
    log = (folder / f".metta-sweep/launches/{launch}.log").read_text("utf-8")
    return [line for line in log.splitlines() if "serving the task queue" in line]


def test_a_stage_says_which_it_is_and_spans_of_its_code_are_below_it(
    project: Path, collector: Collector
) -> None:
    program(project, PIPELINE, collector.environment)
    stages = collector.awaited("RunActivity:run_stage", 2)
    assert {span.attributes["metta.stage"] for span in stages} == {"load", "double"}
    assert {span.attributes["metta.experiment"] for span in stages} == {"staged"}
    [reading] = collector.awaited("reading", 1)
    above = ["StartWorkflow:Experiment", "StartActivity:run_stage", "RunActivity:run_stage"]
    assert collector.path(reading) == [*above, "reading"]


async def test_a_plugin_makes_spans_with_the_provider_that_it_is_given(
    server: Settings, tmp_path: Path
) -> None:
    (tmp_path / "objectives.py").write_text(OBJECTIVES, "utf-8")
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    plugin = MettaSweepPlugin(tmp_path, code_in(tmp_path), modules=["*"], tracer_provider=provider)
    client = await connect(server, plugins=[plugin])
    rig = Rig(client, "own-provider", tmp_path, FileStore(tmp_path))
    async with Worker(client, task_queue="own-provider"):
        await (await rig.start(definition(budget=2), "own-provider")).result()
    spans = exporter.get_finished_spans()
    attempts = [span for span in spans if span.name == "RunAttempt"]
    assert len(attempts) == 2
    [session] = [span for span in spans if span.name == "RunActivity:run_search_session"]
    assert session.context
    assert {span.parent and span.parent.span_id for span in attempts} == {session.context.span_id}


@pytest.mark.parametrize("kind", ["interceptor", "plugin"])
def test_attempts_are_spans_below_those_of_tracing_that_a_user_has_beside(
    server: Settings, project: Path, kind: str
) -> None:
    (project / "objectives.py").write_text(OBJECTIVES, "utf-8")
    (project / "program.py").write_text(BESIDE, "utf-8")
    where = str(server.connect["target_host"]), str(server.connect["namespace"])
    command = [sys.executable, "-P", "program.py", kind, *where, json.dumps(definition(budget=2))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(["RunActivity:run_search_session"] * 2)


def test_a_collector_that_is_away_does_not_hold_up_user_code() -> None:
    code = """if True:
        import os
        from time import monotonic
        from opentelemetry import trace
        from metta.sweep.telemetry.tracing import continued
        began = monotonic()
        for _ in range(20):
            with continued("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"):
                with trace.get_tracer("mine").start_as_current_span("epoch"):
                    pass
        print(monotonic() - began, flush=True)
        os._exit(0)  # as a process of user code ends
    """
    environment = {**os.environ, "METTA_SWEEP_TRACES": "otlp"}
    environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:9"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=30, check=True
    )
    assert float(done.stdout) < 10  # and not 20 times as long as an exporter tries


def test_traces_without_opentelemetry_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METTA_SWEEP_TRACES", "otlp")
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(
        DefinitionError, match=r'METTA_SWEEP_TRACES=otlp.*pip install "metta-sweep\[telemetry\]"'
    ):
        interceptors()


def test_traces_of_another_kind_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METTA_SWEEP_TRACES", "jaeger")
    with pytest.raises(DefinitionError, match="has to be one of console, otlp, got 'jaeger'"):
        interceptors()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "0"}, "OTEL_BSP_MAX_QUEUE_SIZE=0: max_queue_size must be a positive"),
        ({"OTEL_BSP_SCHEDULE_DELAY": "-1"}, "OTEL_BSP_SCHEDULE_DELAY=-1: schedule_delay_millis must be"),
        (
            {"OTEL_BSP_MAX_QUEUE_SIZE": "8", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "9"},
            "OTEL_BSP_MAX_QUEUE_SIZE=8 and OTEL_BSP_MAX_EXPORT_BATCH_SIZE=9: max_export_batch_size must be",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["console", "otlp"])
def test_batches_that_cannot_be_are_told_by_their_variables(
    monkeypatch: pytest.MonkeyPatch, kind: str, said: dict[str, str], message: str
) -> None:
    for name in BATCHES:
        monkeypatch.delenv(name, raising=False)
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(DefinitionError) as caught:
        Provider(kind)
    assert str(caught.value).startswith(f"the environment: {message}")


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"])
def test_grpc_needs_a_package_which_is_told_with_what_asked_for_it(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "grpc")
    monkeypatch.setitem(sys.modules, GRPC, None)
    with pytest.raises(DefinitionError) as caught:
        Provider("otlp")
    way = "pip install opentelemetry-exporter-otlp-proto-grpc"
    assert str(caught.value) == f"the environment: {name}=grpc needs a package of its own: {way}"


def test_where_that_package_is_installed_spans_are_sent_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Said by a package of our own, for that one is not installed here."""
    package, exporter = ModuleType(GRPC), InMemorySpanExporter()
    vars(package)["OTLPSpanExporter"] = lambda: exporter
    monkeypatch.setitem(sys.modules, GRPC, package)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    provider = Provider("otlp")
    provider.get_tracer("mine").start_span("epoch").end()
    provider.shutdown()
    assert [span.name for span in exporter.get_finished_spans()] == ["epoch"]


@pytest.mark.parametrize("kind", ["console", "otlp"])
def test_limits_of_spans_that_are_none_are_told(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many")
    with pytest.raises(DefinitionError, match=r"^the environment: OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT must be"):
        Provider(kind)


def test_what_nobody_asks_for_is_not_imported() -> None:
    code = "import sys, metta.sweep.worker.main, metta.sweep.stages.program, metta.sweep.runners.runner;"
    code += "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
