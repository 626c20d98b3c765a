"""A codec that encrypts, a folder for what is large, and a look at what the server got."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from os import urandom
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.converter import (
    DataConverter,
    PayloadCodec,
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
)
from temporalio.worker import Worker

from metta.sweep.client.settings import Settings
from metta.sweep.contracts.consent import EVERYTHING
from metta.sweep.worker import MettaSweepPlugin
from tests.rig import Handle, Rig, code_in, standing

ENCRYPTED = b"binary/encrypted"


class Encryption(PayloadCodec):
    """Encrypts all that is sent; what it did not encrypt passes through."""

    def __init__(self) -> None:
        self._cipher = AESGCM(AESGCM.generate_key(256))

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self._encrypted(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self._decrypted(payload) for payload in payloads]

    def _encrypted(self, payload: Payload) -> Payload:
        nonce = urandom(12)
        data = nonce + self._cipher.encrypt(nonce, payload.SerializeToString(), None)
        return Payload(metadata={"encoding": ENCRYPTED}, data=data)

    def _decrypted(self, payload: Payload) -> Payload:
        if payload.metadata["encoding"] != ENCRYPTED:
            return payload
        return Payload.FromString(self._cipher.decrypt(payload.data[:12], payload.data[12:], None))


class Folder(StorageDriver):
    """Keeps payloads as files that are called by what is in them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()

    def name(self) -> str:
        return "folder"

    async def store(
        self, context: StorageDriverStoreContext, payloads: Sequence[Payload]
    ) -> list[StorageDriverClaim]:
        return [self._stored(payload.SerializeToString()) for payload in payloads]

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        return [
            Payload.FromString((self._folder / claim.claim_data["file"]).read_bytes()) for claim in claims
        ]

    def _stored(self, data: bytes) -> StorageDriverClaim:
        name = sha256(data).hexdigest()
        (self._folder / name).write_bytes(data)
        return StorageDriverClaim({"file": name})


@asynccontextmanager
async def served(server: Settings, folder: Path, converter: DataConverter) -> AsyncIterator[Rig]:
    """A rig whose client has a data converter of its own."""
    made = await standing(server, folder)
    plugin = MettaSweepPlugin(made.store.root, code_in(folder), **EVERYTHING.model_dump())
    client = await Client.connect(
        str(server.connect["target_host"]),
        namespace=str(server.connect["namespace"]),
        data_converter=converter,
        plugins=[plugin],
    )
    async with Worker(client, task_queue=made.queue):
        yield made._replace(client=client)


def payloads_in(message: Message, path: str = "") -> Iterator[tuple[str, Payload]]:
    """All payloads inside of a message, and where they are."""
    if isinstance(message, Payload):
        yield path, message
        return
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        where = f"{path}.{field.name}"
        if field.message_type.GetOptions().map_entry:
            for key, item in value.items():
                if isinstance(item, Message):
                    yield from payloads_in(item, f"{where}[{key}]")
        elif field.is_repeated:
            for item in value:
                yield from payloads_in(item, where)
        else:
            yield from payloads_in(value, where)


async def events_of(handle: Handle) -> list[tuple[str, str, Payload]]:
    """All payloads in the history of a workflow as the server has it: their events, places, and themselves.

    Search attributes are left out: the server has to read them.
    """
    history = await handle.fetch_history()
    return [
        (EventType.Name(event.event_type).removeprefix("EVENT_TYPE_"), path, payload)
        for event in history.events
        for path, payload in payloads_in(event)
        if ".search_attributes." not in path
    ]
