import asyncio
import os
import signal
import socket
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from metta.sweep.client import connection
from metta.sweep.client.connection import RETENTION, connect, ensure_search_attributes
from metta.sweep.client.server import HOST, NAMESPACE
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.consent import EVERYTHING
from metta.sweep.contracts.errors import ServerError
from metta.sweep.contracts.sweeps import SEARCH_ATTRIBUTES
from metta.sweep.stores.files import FileStore
from metta.sweep.worker import MettaSweepPlugin
from tests.rig import OBJECTIVES, TEMPORAL, Rig, code_in, definition, pid_in


async def test_a_server_that_is_not_there_is_told_with_what_to_check(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as nobody:
        address = f"{HOST}:{nobody.getsockname()[1]}"
    with pytest.raises(ServerError) as caught:
        await connect(Settings(tmp_path, {"target_host": address}))
    assert f"the Temporal server at {address} cannot be used: " in str(caught.value)
    assert "Check TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE and temporal.toml" in str(caught.value)


async def test_a_server_that_says_nothing_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CONNECT_S", 0.5)
    with socket.create_server((HOST, 0)) as mute:
        address = f"{HOST}:{mute.getsockname()[1]}"
        with pytest.raises(ServerError, match=r"cannot be used: it does not answer within 0.5 s\."):
            await connect(Settings(tmp_path, {"target_host": address}))


async def test_a_namespace_that_is_not_there_is_told(server: Settings, tmp_path: Path) -> None:
    there = {"target_host": server.connect["target_host"], "namespace": "nowhere"}
    with pytest.raises(ServerError, match=r"cannot be used: Namespace nowhere is not found\."):
        await connect(Settings(tmp_path, there))


async def test_the_embedded_server_keeps_sweeps_for_a_year_and_is_told_when_it_hangs(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings.load()
    client = await connect(settings)
    described = await client.workflow_service.describe_namespace(
        DescribeNamespaceRequest(namespace=NAMESPACE)
    )
    assert described.config.workflow_execution_retention_ttl.ToTimedelta() == RETENTION
    monkeypatch.setattr(connection, "CONNECT_S", 0.5)
    monkeypatch.setattr(connection, "READY_S", 0.5)
    server = pid_in(settings.home / "server" / "alive.lock")
    os.kill(server, signal.SIGSTOP)
    with pytest.raises(ServerError, match=r"does not answer within 0.5 s\. `sweep dev --stop` ends it"):
        await connect(settings)
    os.kill(server, signal.SIGCONT)


async def test_search_attributes_are_registered_where_they_are_missing(tmp_path: Path) -> None:
    (tmp_path / "objectives.py").write_text(OBJECTIVES, "utf-8")
    async with await WorkflowEnvironment.start_local(dev_server_existing_path=TEMPORAL) as foreign:
        client = await Client.connect(
            foreign.client.service_client.config.target_host,
            namespace=foreign.client.namespace,
            plugins=[MettaSweepPlugin(tmp_path / "store", code_in(tmp_path), **EVERYTHING.model_dump())],
        )
        await asyncio.gather(*(ensure_search_attributes(client) for _ in range(3)))
        await ensure_search_attributes(client)
        request = ListSearchAttributesRequest(namespace=client.namespace)
        found = await client.operator_service.list_search_attributes(request)
        assert SEARCH_ATTRIBUTES.keys() <= found.custom_attributes.keys()
        rig = Rig(client, f"queue-{uuid4()}", tmp_path, FileStore(tmp_path / "store"))
        async with Worker(client, task_queue=rig.queue):
            handle = await rig.start(definition(budget=1))
            assert (await handle.result())["reason"] == "budget"


async def test_who_may_not_register_them_is_told_what_somebody_else_has_to_do(server: Settings) -> None:
    client = await Client.connect(str(server.connect["target_host"]), namespace="nowhere")
    with pytest.raises(ServerError) as caught:
        await ensure_search_attributes(client)
    assert (
        "`temporal operator search-attribute create --namespace nowhere --name SweepStatus --type Keyword"
        in str(caught.value)
    )
