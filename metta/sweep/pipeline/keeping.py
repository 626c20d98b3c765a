"""Keeping: caches, checkpoints and archives of what stages give."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from hashlib import blake2b
from io import BytesIO
from typing import IO, Any

from pydantic import JsonValue

from metta.sweep.contracts.blobs import Blobs, Hashed, Write
from metta.sweep.contracts.errors import SweepError
from metta.sweep.contracts.shelves import OutsideStore, Shelf
from metta.sweep.contracts.values import Value
from metta.sweep.pipeline.annotations import type_text
from metta.sweep.pipeline.circumstances import Circumstances
from metta.sweep.pipeline.code import code_of
from metta.sweep.pipeline.conversion import conform, conform_fields, restored, restored_fields
from metta.sweep.pipeline.flows import Flow
from metta.sweep.pipeline.packing import Hashes, Packer, Serialized, Unpackable, canonical
from metta.sweep.pipeline.planning import Definition
from metta.sweep.pipeline.records import Record, fields_of
from metta.sweep.pipeline.unpacking import Restore

log = logging.getLogger("metta.sweep.pipeline")


class ShelfBlobs:
    """Blobs of a local run, on its shelf.

    Args:
        shelf: Where they lie.
    """

    store = ""  # it has none

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def put(self, suffix: str, write: Write) -> str:
        """Keep what a function writes; returns its name."""
        buffer = BytesIO()
        stream = Hashed(buffer)
        write(stream)
        name = stream.name(suffix)
        self._shelf.write(f"data/{name}", buffer.getvalue())
        return name

    def open(self, name: str) -> IO[bytes]:
        """A file to read from.

        Raises:
            SweepError: When there is none of that name.
        """
        if (data := self._shelf.read(f"data/{name}")) is None:
            raise SweepError(f"{name} is missing")
        return BytesIO(data)


def packer_for(definition: Definition, blobs: Blobs, *, pickle: bool) -> Packer:
    """A packer that knows what flows in a pipeline.

    Args:
        definition: The pipeline.
        blobs: Where large values are kept.
        pickle: Whether what has no form of its own may be pickled.
    """
    return Packer(blobs, pickle=pickle, classes=definition.classes, restore=_restoring(definition.flows))


def _restoring(flows: Mapping[str, Flow]) -> Restore:
    """Reads what the ``serialize`` hooks of stages made, as the types that flow behind these."""

    def restore(stage: str, data: bytes) -> Any:
        flow = flows[stage]
        if flow.type is Record and flow.fields is not None:
            return restored_fields(data, {name: field.type for name, field in flow.fields.items()})
        return restored(data, flow.type)

    return restore


class Keeper:
    """The persistence hooks of a stage.

    Args:
        circumstances: Of this run.
        shelf: Where the bytes go.
        packer: Makes bytes of values.
        returned: What the stage says it returns.

    Attributes:
        written: Keys of what was left there.
    """

    def __init__(self, circumstances: Circumstances, shelf: Shelf, packer: Packer, returned: Any) -> None:
        self._run, self._shelf, self._packer, self._returned = circumstances, shelf, packer, returned
        self.written: list[str] = []

    @property
    def _serialize(self) -> Callable[..., Any] | None:
        function: Callable[..., Any] | None = self._run.hooks.nearest("serialize")
        return function

    async def cache_key(self, fields: Mapping[str, JsonValue]) -> str | None:
        """Where the output of this input is kept; None when the stage is not cached.

        Args:
            fields: Those of the experiment that are not as they were given.
        """
        if not self._run.hooks.nearest("cache") and not self._run.hooks.nearest("cache_key"):
            return None
        value, function = self._run.value, self._run.hooks.nearest("cache_key")
        said = await self._run.hook("cache_key", function, value) if function else None
        try:
            parts = [said] if function else [code_of(self._run.stage.run), self._contract_text(), value]
            parts += [fields] if fields and not function else []
            turns = () if function else self._run.at.turns
            told = self._packer.with_blobs(Hashes()).pack([*parts, turns, self._serialize is not None])
        except Exception as error:  # looking at what code holds runs the user's
            advice = "its code or input holds nothing that a cache could go by; give cache_key"
            raise self._run.failure("contract", error, advice) from error
        digest = blake2b(canonical(told), digest_size=16).hexdigest()
        return f"cache/{self._run.stage.path}/{digest}.json"

    def _contract_text(self) -> str:
        boundary = self._run.stage.boundary
        fields = {name: type_text(kind) for name, kind in boundary.fields.items()}
        return f"{type_text(boundary.contract or self._returned)} {fields}"

    def cached(self, key: str) -> tuple[Any] | None:
        """What is kept under a key, in a tuple of its own; None when nothing usable is."""
        if (data := self._shelf.read(key)) is None:
            return None
        try:
            return (self._read(data),)
        except (SweepError, ValueError):
            log.warning(
                "%s: what is cached under %s cannot be read; it runs again", self._run.at, key, exc_info=True
            )
            return None

    def _read(self, data: bytes) -> Any:
        """An output again; its contract may have changed since."""
        boundary = self._run.stage.boundary
        if self._serialize:
            return boundary.restored(data, self._run.value, self._returned)
        output = self._packer.from_json(data)
        if boundary.contract is None and boundary.fields:
            conform_fields(fields_of(output) or {}, boundary.fields)
            return output
        return conform(output, boundary.contract or self._returned)

    async def sent(self, output: Any, limit_bytes: int) -> Value:
        """An output as what can travel; through the ``serialize`` hook when it cannot be packed.

        Raises:
            StageFailed: When it can be neither.
        """
        try:
            return self._packer.kept(output, limit_bytes)
        except Unpackable as error:
            if (function := self._serialize) is None:
                raise self._run.failure("contract", error, "its output") from error
        return self._kept_form(await self._run.hook("serialize", function, output), limit_bytes)

    def _kept_form(self, form: Any, limit_bytes: int) -> Value:
        try:
            return self._packer.kept(Serialized(self._run.stage.path, form), limit_bytes)
        except Unpackable as error:
            raise self._run.failure("hook", error, "serialize") from error

    async def keep(self, output: Any, cache_key: str | None) -> None:
        """Leave an output wherever hooks say, and in the cache when there is a key."""
        keys = [key async for key in self._keys(output)] + ([cache_key] if cache_key else [])
        if not keys:
            return
        data = await self._stored(output)
        for key in keys:
            try:
                await asyncio.to_thread(self._shelf.write, key, data)
            except (OutsideStore, OSError) as error:
                raise self._run.failure("hook", error, f"{key:.200} cannot be written") from error
            self.written.append(key)

    async def _keys(self, output: Any) -> AsyncIterator[str]:
        path, default = self._run.hooks.nearest("checkpoint_path"), f"checkpoints/{self._run.at}.json"
        if path is not None:
            yield await self._path("checkpoint_path", path, output)
        elif self._run.hooks.nearest("checkpoint"):
            yield default
        archive = self._run.hooks.nearest("archive")
        if archive is not None and (key := await self._path("archive", archive, output)):
            yield key

    async def _path(self, name: str, path: Any, output: Any) -> str:
        said = await self._run.hook(name, path, output) if callable(path) else path
        return "" if said is None else str(said)

    async def _stored(self, output: Any) -> bytes:
        function = self._serialize
        form = await self._run.hook("serialize", function, output) if function else None
        try:
            if function:
                return Serialized(self._run.stage.path, form).data
            return self._packer.to_json(output)
        except Unpackable as error:
            raise self._run.failure("contract", error, "its output") from error
