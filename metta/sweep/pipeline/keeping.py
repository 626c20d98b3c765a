"""Keeping: caches, checkpoints and archives of what stages give."""

import asyncio
import logging
from collections.abc import AsyncIterator
from hashlib import blake2b
from typing import Any

from metta.sweep.contracts.fingerprints import fingerprint_of
from metta.sweep.pipeline.annotations import type_text
from metta.sweep.pipeline.circumstances import Circumstances
from metta.sweep.pipeline.conversion import Mismatch, stored_form
from metta.sweep.pipeline.folders import OutsideStore, Shelf

log = logging.getLogger("metta.sweep.pipeline")


class Keeper:
    """The persistence hooks of a stage.

    Args:
        circumstances: Of this run.
        shelf: Where the bytes go.
        returned: What the stage says it returns.

    Attributes:
        written: Keys of what was left there.
    """

    def __init__(self, circumstances: Circumstances, shelf: Shelf, returned: Any) -> None:
        self._run, self._shelf, self._returned = circumstances, shelf, returned
        self.written: list[str] = []

    async def cache_key(self) -> str | None:
        """Where the output of this input is kept; None when the stage is not cached."""
        if not self._run.hooks.nearest("cache") and not self._run.hooks.nearest("cache_key"):
            return None
        if function := self._run.hooks.nearest("cache_key"):
            said = await self._run.hook("cache_key", function, self._run.value)
        else:
            said = fingerprint_of(self._run.stage.run) if self._run.stage.run else ""
        try:
            parts = [stored_form(said)]
            if not function:
                parts += [
                    self._contract_text().encode(),
                    stored_form(self._run.value),
                    repr(self._run.at.turns).encode(),
                ]
        except Mismatch as error:
            advice = "its input says nothing that a cache could go by; give cache_key"
            raise self._run.failure("contract", error, advice) from error
        digest = blake2b(b"\0".join(parts), digest_size=16).hexdigest()
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
            output = self._run.stage.boundary.restored(data, self._run.value, self._returned)
        except (Mismatch, ValueError):
            log.warning(
                "%s: what is cached under %s cannot be read; it runs again", self._run.at, key, exc_info=True
            )
            return None
        return (output,)

    async def keep(self, output: Any, cache_key: str | None) -> None:
        """Leave an output wherever hooks say, and in the cache when there is a key."""
        keys = [key async for key in self._keys(output)] + ([cache_key] if cache_key else [])
        if not keys:
            return
        data = await self._serialized(output)
        for key in keys:
            try:
                await asyncio.to_thread(self._shelf.write, key, data)
            except OutsideStore as error:
                raise self._run.failure("hook", error) from error
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

    async def _serialized(self, output: Any) -> bytes:
        function = self._run.hooks.nearest("serialize")
        form = await self._run.hook("serialize", function, output) if function else output
        try:
            if isinstance(form, bytes | str) and function:
                return form if isinstance(form, bytes) else form.encode()
            return stored_form(form)
        except Mismatch as error:
            advice = "its output cannot be stored; give serialize=..., which returns bytes, text or JSON"
            raise self._run.failure("contract", error, advice) from error
