from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from hashlib import blake2b
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import (
    DataConverter,
    DefaultFailureConverterWithEncodedAttributes,
    DefaultPayloadConverter,
    PayloadCodec,
)
from temporalio.worker import UnsandboxedWorkflowRunner, Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from metta.sweep.client.settings import Settings
from metta.sweep.contracts.budgets import Control
from metta.sweep.contracts.consent import EVERYTHING
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.stores.files import FileStore
from metta.sweep.worker import MettaSweepPlugin
from tests.rig import OBJECTIVES, Rig, code_in, definition, failure_of, runners_of, standing, status_of

CIPHER = b"binary/encrypted"


class Encryption(PayloadCodec):
    """A stream cipher; what somebody else has encoded passes through."""

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [
            Payload(metadata={"encoding": CIPHER}, data=mixed(payload.SerializeToString()))
            for payload in payloads
        ]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [
            Payload.FromString(mixed(payload.data)) if payload.metadata["encoding"] == CIPHER else payload
            for payload in payloads
        ]


def mixed(data: bytes) -> bytes:
    keys = (blake2b(block.to_bytes(8, "big"), key=b"secret").digest() for block in range(len(data) // 64 + 1))
    return bytes(a ^ b for a, b in zip(data, b"".join(keys), strict=False))


SECRET = DataConverter(
    payload_codec=Encryption(), failure_converter_class=DefaultFailureConverterWithEncodedAttributes
)


async def client_of(server: Settings, converter: DataConverter, folder: Path) -> Client:
    (folder / "objectives.py").write_text(OBJECTIVES, "utf-8")
    return await Client.connect(
        str(server.connect["target_host"]),
        namespace=str(server.connect["namespace"]),
        data_converter=converter,
        plugins=[MettaSweepPlugin(folder / "store", code_in(folder), **EVERYTHING.model_dump())],
    )


async def test_a_codec_and_a_failure_converter_of_ones_own_stay_in_place(
    server: Settings, tmp_path: Path
) -> None:
    client = await client_of(server, SECRET, tmp_path)
    rig = Rig(client, f"queue-{uuid4()}", tmp_path, FileStore(tmp_path / "store"))
    async with Worker(client, task_queue=rig.queue):
        handle = await rig.started(budget=1)
        await handle.signal("set_budget", 2)
        control = await handle.execute_update("set_budget", 3, result_type=Control)
        assert control.version == 2
        rig.open_gate()
        assert (await handle.result())["progress"]["counts"]["completed"] == 3
        assert (await status_of(handle)).state == "finished"
        failed = await rig.start(definition("wrong", budget=1))
        assert "no luck today" in (await failure_of(failed)).message
        for name in (handle.id, failed.id):
            raw = repr((await client.get_workflow_handle(name).fetch_history()).events)
            assert "binary/encrypted" in raw
            assert "no luck" not in raw
            assert "objectives" not in raw
        # somebody without the key
        plain = Rig((await standing(server, tmp_path / "plain")).client, rig.queue, rig.folder, rig.store)
        again = await plain.start(definition(budget=1))
        await rig.client.get_workflow_handle(again.id).result()


class Own(PydanticPayloadConverter):
    """Derived from pydantic's, as somebody may who sends more than that."""


class Foreign(DefaultPayloadConverter):
    """Knows nothing of pydantic."""


async def test_a_payload_converter_of_ones_own_is_kept_or_refused_never_replaced(
    server: Settings, tmp_path: Path
) -> None:
    own = replace(DataConverter.default, payload_converter_class=Own)
    assert (await client_of(server, own, tmp_path)).data_converter.payload_converter_class is Own
    default = (await client_of(server, DataConverter.default, tmp_path)).data_converter
    assert default.payload_converter_class is PydanticPayloadConverter
    foreign = replace(DataConverter.default, payload_converter_class=Foreign)
    with pytest.raises(DefinitionError, match="pydantic's payload converter: derive Foreign from it"):
        await client_of(server, foreign, tmp_path)
    assert DataConverter.default.payload_converter_class is DefaultPayloadConverter


async def test_a_worker_keeps_its_own_settings(server: Settings, tmp_path: Path) -> None:
    rig = await standing(server, tmp_path / "rig")
    grace, runner = timedelta(seconds=1), UnsandboxedWorkflowRunner()
    own = Worker(rig.client, task_queue=rig.queue, graceful_shutdown_timeout=grace, workflow_runner=runner)
    config = own.config(active_config=True)
    assert (config.get("graceful_shutdown_timeout"), config.get("workflow_runner")) == (grace, runner)
    default = Worker(rig.client, task_queue=f"queue-{uuid4()}").config(active_config=True)
    assert default.get("graceful_shutdown_timeout", timedelta()) > timedelta(seconds=5)
    assert isinstance(default.get("workflow_runner"), SandboxedWorkflowRunner)
    assert default.get("workflow_failure_exception_types") == []  # other workflows fail as they always did


async def test_two_workers_of_one_client_share_the_plugin(server: Settings, tmp_path: Path) -> None:
    rig = await standing(server, tmp_path / "rig")
    other = rig._replace(queue=f"queue-{uuid4()}")
    async with Worker(rig.client, task_queue=rig.queue):
        handle = await rig.started(budget=1)
        async with Worker(rig.client, task_queue=other.queue):
            second = await other.start(definition(budget=1))
            assert (await second.result())["reason"] == "budget"
        assert rig.table(handle.id).counts.running == 1
        assert runners_of()
        rig.open_gate()
        assert (await handle.result())["reason"] == "budget"
    assert rig.table(handle.id).epoch == 1
    assert runners_of() == []


async def test_a_plugin_given_to_the_worker_alone_is_refused(server: Settings) -> None:
    client = await Client.connect(
        str(server.connect["target_host"]), namespace=str(server.connect["namespace"])
    )
    with pytest.raises(DefinitionError, match="give MettaSweepPlugin to the client"):
        Worker(client, task_queue="any", plugins=[MettaSweepPlugin()])
