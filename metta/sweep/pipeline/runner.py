"""The stage runner: one stage with its hooks around it, in their fixed order."""

import asyncio
import copy
import logging
from collections import Counter
from collections.abc import Callable
from functools import partial
from hashlib import blake2b
from typing import Any

from metta.sweep.contracts.errors import SweepError, shown
from metta.sweep.contracts.failures import RetryPolicy
from metta.sweep.contracts.fingerprints import fingerprint_of
from metta.sweep.contracts.plans import At, Outcome, Profile, StageFailure, StageFailureKind, StageStatus
from metta.sweep.contracts.stages import StageFailed
from metta.sweep.pipeline.annotations import is_type, returned_by, type_text
from metta.sweep.pipeline.binding import bound, without_iteration
from metta.sweep.pipeline.conversion import Mismatch, conform, conform_fields, stored_form
from metta.sweep.pipeline.effective import call_with_as_many, effective
from metta.sweep.pipeline.execution import Overdue, Profiler, called, settled
from metta.sweep.pipeline.folders import Shelf
from metta.sweep.pipeline.hooks import OBSERVERS, seconds
from metta.sweep.pipeline.nodes import Stage
from metta.sweep.pipeline.records import Record, fields_of, merged, replaced

log = logging.getLogger("metta.sweep.pipeline")


class StageRun:
    """One run of one stage.

    Args:
        stage: What to run.
        at: Where it stands, and in which turns of the loops around it.
        value: What flows in; it is not changed.
        shelf: Where persistence hooks keep their bytes.
        debugging: Whether a debugger can be attached; else ``debug`` hooks are left out.
    """

    def __init__(self, stage: Stage, at: At, value: Any, shelf: Shelf, *, debugging: bool) -> None:
        self._stage, self._at, self._value, self._shelf, self._debugging = stage, at, value, shelf, debugging
        self._hooks = effective(stage)
        self._returned = returned_by(stage.run) if stage.run else Any
        self._attempts = 0
        self._metrics: dict[str, float] = {}
        self._failed_hooks: Counter[str] = Counter()
        self._written: list[str] = []
        self._profile: Profile | None = None
        self._status: StageStatus = "done"

    @property
    def outcome(self) -> Outcome:
        """How it went so far."""
        return Outcome(
            stage=str(self._at),
            status=self._status,
            attempts=self._attempts,
            metrics=self._metrics,
            failed_hooks=dict(self._failed_hooks),
            written=tuple(self._written),
            profile=self._profile,
        )

    async def value(self) -> Any:
        """What the stage gives.

        Raises:
            StageFailed: When it failed for good; caused by what it raised.
        """
        for skip in self._hooks.functions("skip_if"):
            if await self._hook("skip_if", skip, self._value):
                self._status = "skipped"
                return self._skipped()
        await self._observe("before", self._value)
        key = await self._cache_key()
        output = self._cached(key) if key else None
        if output is None:
            output = (await self._transformed(await self._validated(self._concluded(await self._ran()))),)
        for name in OBSERVERS:
            await self._observe(name, output[0])
        await self._persist(output[0], key if self._status == "done" else None)
        return output[0]

    async def recovered(self, failed: StageFailed) -> Any:
        """What ``on_error`` gives in place of a failure; the innermost that does not raise.

        Raises:
            StageFailed: When none does, or what it gives does not fit.
        """
        error: BaseException = failed.__cause__ or failed
        for handler in self._hooks.functions("on_error"):
            try:
                result = await settled(call_with_as_many(handler, error, self._copy(self._value)))
            except Exception as raised:
                error = raised
                continue
            self._status = "recovered"
            return self._concluded(result)
        raise self._failure(failed.failure.kind, error) from error

    def _failure(self, kind: StageFailureKind, error: BaseException, what: str = "") -> StageFailed:
        told = str(error) if isinstance(error, SweepError | Overdue) else f"{type(error).__name__}: {error}"
        message = f"{what}: {told}" if what else told
        return StageFailed(
            StageFailure(stage=str(self._at), kind=kind, message=message, attempts=self._attempts)
        )

    def _copy(self, value: Any) -> Any:
        try:
            return copy.deepcopy(value)
        except Exception as error:  # copying runs the user's code
            raise self._failure("contract", error, f"{shown(value)} cannot be copied") from error

    async def _hook(self, name: str, function: Callable[..., Any], value: Any) -> Any:
        """A hook whose failure is the stage's."""
        try:
            return await settled(function(self._copy(value)))
        except StageFailed:
            raise
        except Exception as error:
            raise self._failure("hook", error, name) from error

    async def _observe(self, name: str, value: Any) -> None:
        """Hooks whose failures are counted, and harm nobody."""
        for function in self._ordered(name):
            if name == "debug" and not self._debugging:
                log.info("%s: its debug hook is left out, for nobody can debug here", self._at)
                continue
            try:
                self._heard(name, await settled(function(copy.deepcopy(value))))
            except Exception:
                self._failed_hooks[name] += 1
                log.warning("%s: its %s hook failed", self._at, name, exc_info=True)

    def _heard(self, name: str, told: Any) -> None:
        if name == "log" and isinstance(told, str):
            log.info("%s: %s", self._at, told)
        if name == "metrics" and (numbers := fields_of(told)):
            self._metrics |= {key: float(number) for key, number in numbers.items()}

    def _ordered(self, name: str) -> list[Callable[..., Any]]:
        """Global hooks are outside: they are first before a stage, and last behind it."""
        functions = self._hooks.functions(name)
        return functions[::-1] if name == "before" else functions

    def _skipped(self) -> Any:
        if self._stage.boundary.contract is None:
            return self._value
        return self._concluded(self._value)

    async def _ran(self) -> Any:
        if self._stage.run is None:
            return self._copy(self._value)
        retry, timeout = self._hooks.nearest("retry"), self._hooks.nearest("timeout")
        policy = retry if isinstance(retry, RetryPolicy) else RetryPolicy(max_attempts=retry or 1)
        while True:
            self._attempts += 1
            try:
                return await self._attempt(None if timeout is None else seconds(timeout))
            except StageFailed as failed:
                kind = failed.failure.kind
                if kind == "contract" or not policy.again(kind, self._attempts, 0):  # type: ignore[arg-type]
                    raise
            await asyncio.sleep(policy.delay_s(self._attempts))

    async def _attempt(self, timeout_s: float | None) -> Any:
        assert self._stage.run is not None
        try:
            call = bound(self._stage.run, self._copy(self._value), self._at.turns)
        except Mismatch as error:
            raise self._failure("contract", error, "its input") from error
        function = partial(self._stage.run, *call.args, **call.named)
        try:
            return without_iteration(await self._measured(function, timeout_s), self._value)
        except Overdue as error:
            raise self._failure("timeout", error) from error
        except MemoryError as error:
            raise self._failure("oom", error) from error
        except (Exception, SystemExit) as error:
            raise self._failure("user", error) from error

    async def _measured(self, function: Callable[[], Any], timeout_s: float | None) -> Any:
        profile = self._hooks.nearest("profile")
        if not profile:
            return await called(function, timeout_s)
        profiler = Profiler(in_full=profile == "full")
        try:
            with profiler:
                return await called(profiler.wrap(function), timeout_s)
        finally:
            self._profile = profiler.result

    def _concluded(self, result: Any) -> Any:
        try:
            return self._stage.boundary.concluded(self._value, result, self._returned)
        except Mismatch as error:
            raise self._failure("contract", error, "its output") from error

    async def _validated(self, output: Any) -> Any:
        self._validate_types(output)
        for name in ("validate", "assert_fn"):
            for function in self._hooks.functions(name):
                await self._validate(name, function, output)
        return output

    def _validate_types(self, output: Any) -> None:
        kind, schema = self._hooks.nearest("validate_type"), self._hooks.nearest("schema")
        if kind is True:
            kind = self._stage.boundary.contract or (None if self._stage.boundary.fields else self._returned)
        for name, expected in (("validate_type", kind), ("schema", schema)):
            try:
                if is_type(expected):
                    _exactly(output, expected) if name == "validate_type" else conform(output, expected)
                elif expected is not None:
                    _conform_schema(output, expected)
            except Mismatch as error:
                raise self._failure("validation", error, name) from error

    async def _validate(self, name: str, function: Callable[..., Any], output: Any) -> None:
        try:
            verdict = await settled(function(self._copy(output)))
            refused = verdict is not None and not verdict
        except Exception as error:
            raise self._failure("validation", error, name) from error
        if refused:
            raise self._failure("validation", SweepError(f"it refused {shown(output)}"), name)

    async def _transformed(self, output: Any) -> Any:
        changed = False
        for name in ("filter", "transform", "enrich"):
            for function in self._hooks.functions(name):
                given = await self._hook(name, function, output)
                output, changed = self._changed(name, output, given), True
        return self._concluded_again(output) if changed else output

    def _changed(self, name: str, output: Any, given: Any) -> Any:
        if name == "filter" and isinstance(given, bool):
            problem = f"it returned {given}; it has to return the part of the output to go on with"
            raise self._failure("hook", SweepError(problem), name)
        if (
            name != "enrich"
            or not isinstance(given, dict)
            or isinstance(output, dict)
            or fields_of(output) is None
        ):
            return given
        if self._stage.boundary.contract is None:
            return merged(output, given)
        if strangers := given.keys() - (fields_of(output) or {}).keys():
            problem = f"{', '.join(sorted(strangers))} is no field of {type_text(type(output))}"
            raise self._failure("hook", SweepError(problem), name)
        return replaced(output, given)

    def _concluded_again(self, output: Any) -> Any:
        """What hooks have made of an output has to fit as well."""
        boundary = self._stage.boundary
        if boundary.contract is None and boundary.fields and isinstance(output, Record):
            try:
                return merged(output, conform_fields(vars(output), boundary.fields))
            except Mismatch as error:
                raise self._failure("contract", error, "its output") from error
        return self._concluded(output)

    async def _cache_key(self) -> str | None:
        """Where the output of this input is kept; None when the stage is not cached."""
        if not self._hooks.nearest("cache") and not self._hooks.nearest("cache_key"):
            return None
        if function := self._hooks.nearest("cache_key"):
            said = await self._hook("cache_key", function, self._value)
        else:
            said = fingerprint_of(self._stage.run) if self._stage.run else ""
        try:
            parts = [stored_form(said)]
            if not function:
                parts += [
                    self._contract_text().encode(),
                    stored_form(self._value),
                    repr(self._at.turns).encode(),
                ]
        except Mismatch as error:
            advice = "its input says nothing that a cache could go by; give cache_key"
            raise self._failure("contract", error, advice) from error
        digest = blake2b(b"\0".join(parts), digest_size=16).hexdigest()
        return f"cache/{self._stage.path}/{digest}.json"

    def _contract_text(self) -> str:
        boundary = self._stage.boundary
        fields = {name: type_text(kind) for name, kind in boundary.fields.items()}
        return f"{type_text(boundary.contract or self._returned)} {fields}"

    def _cached(self, key: str) -> tuple[Any] | None:
        if (data := self._shelf.read(key)) is None:
            return None
        try:
            output = self._stage.boundary.restored(data, self._value, self._returned)
        except (Mismatch, ValueError):
            log.warning(
                "%s: what is cached under %s cannot be read; it runs again", self._at, key, exc_info=True
            )
            return None
        self._status = "cached"
        return (output,)

    async def _persist(self, output: Any, cache_key: str | None) -> None:
        keys = [key async for key in self._keys(output)] + ([cache_key] if cache_key else [])
        if not keys:
            return
        data = await self._serialized(output)
        for key in keys:
            await asyncio.to_thread(self._shelf.write, key, data)
            self._written.append(key)

    async def _keys(self, output: Any) -> Any:
        path, default = self._hooks.nearest("checkpoint_path"), f"checkpoints/{self._at}.json"
        if path is not None:
            yield await self._path("checkpoint_path", path, output)
        elif self._hooks.nearest("checkpoint"):
            yield default
        archive = self._hooks.nearest("archive")
        if archive is not None and (key := await self._path("archive", archive, output)):
            yield key

    async def _path(self, name: str, path: Any, output: Any) -> str:
        said = await self._hook(name, path, output) if callable(path) else path
        return "" if said is None else str(said)

    async def _serialized(self, output: Any) -> bytes:
        function = self._hooks.nearest("serialize")
        form = await self._hook("serialize", function, output) if function else output
        try:
            if isinstance(form, bytes | str) and function:
                return form if isinstance(form, bytes) else form.encode()
            return stored_form(form)
        except Mismatch as error:
            advice = "its output cannot be stored; give serialize=..., which returns bytes, text or JSON"
            raise self._failure("contract", error, advice) from error


def _exactly(output: Any, kind: Any) -> None:
    """Raises ``Mismatch`` when an output is not of the type already."""
    if isinstance(kind, type) and not isinstance(output, kind):
        raise Mismatch([f"got {shown(output)}"], type_text(kind))
    conform(output, kind)


def _conform_schema(output: Any, schema: Any) -> None:
    fields = fields_of(output)
    if fields is None:
        raise Mismatch([f"got {shown(output)}, which has no fields"], "the schema")
    if missing := [f"{name} is missing" for name in schema if name not in fields]:
        raise Mismatch(missing, "the schema")
    conform_fields(fields, schema)
