"""Sizes: whether what a workflow is to be started with fits into what its server takes."""

from collections.abc import Iterator
from dataclasses import replace

from pydantic import BaseModel
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.converter import DataConverter, WorkflowSerializationContext

from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.sizes import bytes_text, parts_of

SAFE_BYTES = 256 * 1024
"""So much every server takes."""

LIMIT_BYTES = 2 * 1024**2
"""What a server takes that does not tell its limit."""

MESSAGE_BYTES = 4 * 1024**2 - 64 * 1024
"""What fits into one message to any server, beside what else is said in it."""

FILE = "put what is large into a file, and give its path"

REMEDIES = {
    "search_space": "let choices be numbers or short names, and look up in the training code what they mean",
    "initial_points": "give fewer; trials with known results belong into warm_start=, which the store keeps",
    "fields": f"{FILE} to the experiment",
    "input": f"{FILE} to the first stage",
}


async def check_size(client: Client, name: str, input: BaseModel, subject: str) -> None:
    """See to it that the server takes the input of a workflow.

    It is measured as it would be sent: by the client's own data converter, codec and external storage.

    Args:
        client: Who is going to send it.
        name: Id of the workflow.
        input: Its input.
        subject: What it is called in the error.

    Raises:
        DefinitionError: When it is too large: with what takes most of it, and what to do.
    """
    context = WorkflowSerializationContext(namespace=client.namespace, workflow_id=name)
    size = await sent_bytes(client.data_converter.with_context(context), input)
    if size > SAFE_BYTES and size > (limit := await _limit_bytes(client)):
        raise DefinitionError(list(_problems(input, size, limit)), subject)


async def sent_bytes(converter: DataConverter, value: object) -> int:
    """How many bytes a server gets of a value.

    Args:
        converter: What encodes it.
        value: The value. Nothing of it comes into external storage that is small without that.
    """
    size = await _encoded_bytes(replace(converter, external_storage=None), value)
    is_kept = converter.external_storage is not None and size > SAFE_BYTES
    return await _encoded_bytes(converter, value) if is_kept else size


async def _encoded_bytes(converter: DataConverter, value: object) -> int:
    return sum(payload.ByteSize() for payload in await converter.encode([value]))


async def _limit_bytes(client: Client) -> int:
    request = DescribeNamespaceRequest(namespace=client.namespace)
    found = await client.workflow_service.describe_namespace(request)
    return min(found.namespace_info.limits.blob_size_limit_error or LIMIT_BYTES, MESSAGE_BYTES)


def _problems(input: BaseModel, size: int, limit: int) -> Iterator[str]:
    yield f"{size:,} bytes would be sent, and the Temporal server takes {limit:,} at most"
    for part in parts_of(input):
        remedy = REMEDIES.get(part.path.partition(".")[0], FILE)
        path = part.path.replace("search_space.parameters.", "search_space.")  # as people write it
        yield f"{path} takes {bytes_text(part.size)}: {remedy}"
