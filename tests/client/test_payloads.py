"""Codecs that encrypt, and external storage, as users of Temporal have them."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.message import Message
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.query.v1 import WorkflowQuery
from temporalio.api.workflowservice.v1 import QueryWorkflowRequest
from temporalio.client import Client
from temporalio.converter import (
    DataConverter,
    DefaultFailureConverterWithEncodedAttributes,
    ExternalStorage,
)

from metta.sweep.client.settings import Settings
from metta.sweep.contracts.experiments import ExperimentStatus
from metta.sweep.contracts.sweeps import SweepResult
from tests.client.payloads import ENCRYPTED, Encryption, Folder, events_of, payloads_in, served
from tests.rig import Handle, Rig, definition, failure_of, status_of

PIPELINE = """
from metta.sweep import Uniform
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment
from metta.sweep.experiments.base import Pipeline


def secret(text: str) -> str:
    return text * 2


def train(params):
    return {"loss": params["x"]}


def broken(text: str) -> str:
    raise ValueError(f"no {text}")


search = SweepExperiment(
    train, {"x": Uniform(0, 1)}, metric="loss", executor=LocalExecutor(max_parallel=1), budget=2
)
flow = Pipeline().stage("secret", secret).stage("search", search)
failing = Pipeline().stage("broken", broken)
"""

KINDS = {
    "WORKFLOW_EXECUTION_STARTED",
    "WORKFLOW_EXECUTION_SIGNALED",
    "WORKFLOW_EXECUTION_UPDATE_ACCEPTED",
    "WORKFLOW_EXECUTION_UPDATE_COMPLETED",
    "ACTIVITY_TASK_SCHEDULED",
    "ACTIVITY_TASK_COMPLETED",
    "WORKFLOW_EXECUTION_COMPLETED",
}
"""Events of a sweep that carry something."""


def encrypting() -> DataConverter:
    return DataConverter(
        payload_codec=Encryption(), failure_converter_class=DefaultFailureConverterWithEncodedAttributes
    )


async def started(rig: Rig, pipeline: str, text: str) -> Handle:
    """An experiment whose code lies in the folder of the rig."""
    (rig.folder / "flows.py").write_text(PIPELINE, "utf-8")
    given = {"experiment": pipeline, "input": text}
    name = f"experiment-{uuid4()}"
    return await rig.client.start_workflow("Experiment", given, id=name, task_queue=rig.queue)


async def answer_of(rig: Rig, handle: Handle, query: str) -> Message:
    """What the server passes on when somebody asks a workflow."""
    execution = WorkflowExecution(workflow_id=handle.id)
    return await rig.client.workflow_service.query_workflow(
        QueryWorkflowRequest(
            namespace=rig.client.namespace, execution=execution, query=WorkflowQuery(query_type=query)
        )
    )


async def check_encrypted(handle: Handle) -> set[str]:
    """See to it that the server can read nothing of a history.

    Returns:
        The kinds of events that carry something.
    """
    found = await events_of(handle)
    readable = [(event, path, dict(p.metadata)) for event, path, p in found if not is_encrypted(p)]
    assert readable == []
    return {event for event, _, _ in found}


def is_encrypted(payload: Any) -> bool:
    return bool(payload.metadata["encoding"] == ENCRYPTED)


async def test_the_server_can_read_nothing_of_a_sweep(server: Settings, tmp_path: Path) -> None:
    async with served(server, tmp_path / "rig", encrypting()) as rig:
        handle = await rig.started(budget=5)
        await handle.execute_update("set_budget", 2)
        await handle.signal("set_budget", {"hours": 1})
        for query in ("status", "leaderboard", "control", "__temporal_workflow_metadata"):
            answer = await answer_of(rig, handle, query)
            assert [is_encrypted(payload) for _, payload in payloads_in(answer)] == [True], query
        assert (await status_of(handle)).control.budget.hours == 1
        rig.open_gate()
        result = SweepResult.model_validate(await handle.result())
        assert (result.reason, len(rig.table(handle.id).records)) == (
            "budget",
            result.progress.counts.started,
        )
        assert await check_encrypted(handle) >= KINDS


async def test_the_server_can_read_nothing_of_an_experiment(server: Settings, tmp_path: Path) -> None:
    async with served(server, tmp_path / "rig", encrypting()) as rig:
        handle = await started(rig, "flows:flow", "hidden")
        result = await handle.result()
        assert result["reason"] == "completed"
        status = await handle.query("status", result_type=ExperimentStatus)
        assert [row.stage for row in status.rows] == ["secret", "search"]
        assert await check_encrypted(handle) >= {"START_CHILD_WORKFLOW_EXECUTION_INITIATED"}
        [child] = [w async for w in rig.client.list_workflows(f"ParentWorkflowId = '{handle.id}'")]
        assert await check_encrypted(rig.client.get_workflow_handle(child.id)) >= KINDS - {
            "WORKFLOW_EXECUTION_UPDATE_ACCEPTED",
            "WORKFLOW_EXECUTION_UPDATE_COMPLETED",
        }


async def test_the_server_can_read_nothing_of_a_failure(server: Settings, tmp_path: Path) -> None:
    async with served(server, tmp_path / "rig", encrypting()) as rig:
        handle = await started(rig, "flows:failing", "hidden")
        assert "no hidden" in str(await failure_of(handle))
        await check_encrypted(handle)
        assert "no hidden" not in str(await handle.fetch_history())

        sweep = await rig.start(definition("wrong", budget=9))
        assert "no luck today" in str(await failure_of(sweep))
        await check_encrypted(sweep)
        assert "no luck today" not in str(await sweep.fetch_history())


async def test_what_was_not_encrypted_passes_through(server: Settings, tmp_path: Path) -> None:
    async with served(server, tmp_path / "rig", encrypting()) as rig:
        plain = await Client.connect(
            str(server.connect["target_host"]), namespace=str(server.connect["namespace"])
        )
        name = f"plain-{rig.queue}"
        sent = await plain.start_workflow("Sweep", definition(budget=2), id=name, task_queue=rig.queue)
        handle = rig.client.get_workflow_handle(name)
        assert SweepResult.model_validate(await handle.result()).progress.counts.completed == 2
        readable = {event for event, _, p in await events_of(handle) if not is_encrypted(p)}
        assert readable == {"WORKFLOW_EXECUTION_STARTED"}
        # who has not got the codec cannot read the answers
        with pytest.raises(KeyError, match="binary/encrypted"):
            await sent.query("status")


@pytest.mark.parametrize("codec", [None, Encryption()])
async def test_what_is_large_lies_in_external_storage(
    server: Settings, tmp_path: Path, codec: Encryption | None
) -> None:
    storage = ExternalStorage(drivers=[Folder(tmp_path / "kept")], payload_size_threshold=1000)
    converter = DataConverter(payload_codec=codec, external_storage=storage)
    words = [f"word {n} " + "x" * 100_000 for n in range(30)]
    async with served(server, tmp_path / "rig", converter) as rig:
        space = {"x": {"type": "uniform", "low": 0, "high": 1}, "word": {"type": "choice", "values": words}}
        handle = await rig.start(definition(search_space=space, budget=2))
        result = SweepResult.model_validate(await handle.result())
        assert result.progress.counts.completed == 2
        assert all(len(p.data) < 1000 for _, _, p in await events_of(handle))
        kept = list((tmp_path / "kept").iterdir())
        assert max(file.stat().st_size for file in kept) > 3_000_000
        assert any(b"word 29 " in file.read_bytes() for file in kept) == (codec is None)

        experiment = await started(rig, "flows:flow", "hidden" * 500)
        assert (await experiment.result())["reason"] == "completed"
        assert all(len(p.data) < 1000 for _, _, p in await events_of(experiment))
