"""The stage runner: one stage with its hooks around it, in their fixed order."""

import asyncio
import copy
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from pydantic import JsonValue

from metta.sweep.contracts.errors import (
    BudgetSpent,
    DefinitionError,
    Infeasible,
    StageFailed,
    SweepError,
    shown,
)
from metta.sweep.contracts.failures import RetryPolicy
from metta.sweep.contracts.plans import At, Outcome, Profile, StageFailureKind, StageStatus
from metta.sweep.contracts.shelves import Shelf
from metta.sweep.contracts.values import Value
from metta.sweep.pipeline.annotations import returned_by, type_text
from metta.sweep.pipeline.asking import Observing, Suggesting
from metta.sweep.pipeline.binding import bound, without_iteration
from metta.sweep.pipeline.circumstances import Circumstances
from metta.sweep.pipeline.conversion import Mismatch, conform_fields
from metta.sweep.pipeline.effective import call_with_as_many
from metta.sweep.pipeline.execution import Overdue, Profiler, called, settled
from metta.sweep.pipeline.hooks import OBSERVERS
from metta.sweep.pipeline.keeping import Keeper
from metta.sweep.pipeline.nodes import Stage
from metta.sweep.pipeline.packing import Packer
from metta.sweep.pipeline.records import Record, fields_of, merged, replaced
from metta.sweep.pipeline.state import State, Unfit
from metta.sweep.pipeline.verdicts import Verdicts

log = logging.getLogger("metta.sweep.pipeline")


class StageRun:
    """One run of one stage.

    Args:
        stage: What to run.
        at: Where it stands, and in which turns of the loops around it.
        value: What flows in; it is not changed.
        shelf: Where persistence hooks keep their bytes.
        packer: Makes bytes of values.
        debugging: Whether a debugger can be attached; else ``debug`` hooks are left out.
        failed: So many attempts have failed before: somebody else counts them and keeps their time, and
            one more is made here. None: all attempts are made here.
        work: What is done in place of the stage's own code.
        state: Fields of the experiment, as they flow.
        within: What the stage's code, and nothing else, runs within.
        afresh: Whether it is run although its output is cached; that is cached anew.
    """

    def __init__(
        self,
        stage: Stage,
        at: At,
        value: Any,
        shelf: Shelf,
        packer: Packer,
        *,
        debugging: bool,
        failed: int | None = None,
        work: Callable[[], Any] | None = None,
        state: State | None = None,
        within: Callable[[], AbstractContextManager[None]] = nullcontext,
        afresh: bool = False,
    ) -> None:
        self._stage, self._at, self._value, self._debugging = stage, at, value, debugging
        self._failed, self._within, self._afresh = failed, within, afresh
        self._work = work or (self._done_here if stage.experiment else None)
        self._run = Circumstances(stage, at, value, failed or 0)
        self._hooks = self._run.hooks
        self._returned = returned_by(stage.run) if stage.run else Any
        self._keeper = Keeper(self._run, shelf, packer, self._returned)
        self._state = state
        self._before: Mapping[str, JsonValue] = {}
        self._metrics: dict[str, float] = {}
        self._failed_hooks: Counter[str] = Counter()
        self._profile: Profile | None = None
        self._status: StageStatus = "done"

    @property
    def outcome(self) -> Outcome:
        """How it went so far."""
        return Outcome(
            stage=str(self._at),
            status=self._status,
            attempts=self._run.attempts,
            metrics=self._metrics,
            failed_hooks=dict(self._failed_hooks),
            written=tuple(self._keeper.written),
            profile=self._profile,
        )

    async def value(self) -> Any:
        """What the stage gives.

        Raises:
            StageFailed: When it failed for good; caused by what it raised.
        """
        self._before = self._fields()
        if not self._failed and (skipped := await self.skipped()):
            return skipped[0]
        key = await self._keeper.cache_key(self._before)
        if key and not self._afresh and (found := self._keeper.cached(key)):
            self._status, (output,) = "cached", found
        else:
            output = await self._transformed(await self._passed(self._concluded(await self._ran())))
        for name in OBSERVERS:
            await self._observe(name, output)
        self._check_fields(is_cached=key is not None)
        await self._keeper.keep(output, key if self._status == "done" else None)
        return output

    async def sent(self, output: Any, limit_bytes: int) -> Value:
        """What it gave as what can travel to another process.

        Raises:
            StageFailed: When it can neither be packed, nor is there a ``serialize`` hook.
        """
        return await self._keeper.sent(output, limit_bytes)

    async def skipped(self) -> tuple[Any] | None:
        """What flows on when the stage is left out, in a tuple of its own; None when it is to run.

        Raises:
            StageFailed: When a hook that says so failed.
        """
        for skip in self._ordered("skip_if"):
            if await self._run.hook("skip_if", skip, self._value):
                self._status = "skipped"
                return (self._passed_on(),)
        await self._observe("before", self._value)
        return None

    def _fields(self) -> Mapping[str, JsonValue]:
        """Fields of the experiment that are not as they were given."""
        try:
            return self._state.changed() if self._state else {}
        except Unfit as error:
            raise self._run.failure("contract", SweepError(str(error)), "its fields") from error

    def _check_fields(self, is_cached: bool) -> None:
        """A cached output is all that a later run gets."""
        changed = self._fields()
        names = sorted(n for n in {*changed, *self._before} if changed.get(n) != self._before.get(n))
        if is_cached and names:
            problem = f"{', '.join(names)} changed, and what is cached would not do that; leave `cache` out"
            raise self._run.failure("contract", SweepError(problem), "its fields")

    async def _passed(self, output: Any) -> Any:
        boundary = self._stage.boundary
        declared = boundary.contract or (None if boundary.fields else self._returned)
        return await Verdicts(self._run, declared).passed(output)

    async def recovered(self, failed: StageFailed) -> Any:
        """What ``on_error`` gives in place of a failure; the innermost that does not raise.

        Raises:
            StageFailed: When none does, or what it gives does not fit.
        """
        error: BaseException = failed.__cause__ or failed
        for handler in self._hooks.functions("on_error"):
            try:
                result = await settled(call_with_as_many(handler, error, self._run.copied(self._value)))
            except Exception as raised:
                error = raised
                continue
            self._status = "recovered"
            self._fields()
            return self._concluded(result)
        raise self._run.failure(failed.failure.kind, error) from error

    async def _observe(self, name: str, value: Any) -> None:
        """Hooks whose failures are counted, and harm nobody."""
        for function in self._ordered(name):
            if name == "debug" and not self._debugging:
                log.info("%s: its debug hook is left out, for nobody can debug here", self._at)
                continue
            try:
                self._heard(name, await settled(function(copy.deepcopy(value))))
            except Exception as error:
                self._failed_hooks[name] += 1
                log.warning("%s: its %s hook failed: %s", self._at, name, error, exc_info=True)

    def _heard(self, name: str, told: Any) -> None:
        if name == "log" and isinstance(told, str):
            log.info("%s: %s", self._at, told)
        if name == "metrics" and told is not None:
            if (numbers := fields_of(told)) is None:
                raise SweepError(f"it has to return numbers by name, got {shown(told)}")
            self._metrics |= {key: float(number) for key, number in numbers.items()}

    def _ordered(self, name: str) -> list[Callable[..., Any]]:
        """Global hooks are outside: they are first before a stage, and last behind it."""
        functions = self._hooks.functions(name)
        return functions[::-1] if name in ("skip_if", "before") else functions

    def _passed_on(self) -> Any:
        boundary = self._stage.boundary
        declares = boundary.contract is not None or boundary.fields
        return self._concluded(self._value) if declares else self._value

    async def _ran(self) -> Any:
        if self._stage.run is None and self._work is None:
            return self._run.copied(self._value)
        policy, timeout_s = self._hooks.retry, self._hooks.timeout_s
        while True:
            self._run.attempts += 1
            try:
                return await self._attempt(timeout_s if self._failed is None else None)
            except StageFailed as failed:
                gives_up = not is_retried(policy, failed.failure.kind, self._run.attempts)
                if gives_up or self._failed is not None:
                    raise
                if self._state:  # what it has made of them is dropped
                    self._state.restore(self._before)
            await asyncio.sleep(policy.delay_s(self._run.attempts))

    async def _attempt(self, timeout_s: float | None) -> Any:
        function = self._work or self._called()
        try:
            with self._within():
                result = await self._measured(function, timeout_s)
            return without_iteration(result, self._value, self._at.turns)
        except Overdue as error:
            raise self._run.failure("timeout", error) from error
        except MemoryError as error:
            raise self._run.failure("oom", error) from error
        except Infeasible as error:
            raise self._run.failure("infeasible", error) from error
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) and task.cancelling():  # somebody gives all of this up
                raise
            raise self._run.failure("user", error, "it ended by itself as if it were cancelled") from error
        except (Exception, SystemExit, BaseExceptionGroup) as error:
            raise self._run.failure("refused" if _is_refusal(error) else "user", error) from error

    def _done_here(self) -> Any:
        assert self._stage.experiment is not None
        return self._stage.experiment.run_here(self._run.copied(self._value))

    def _called(self) -> Callable[[], Any]:
        """The stage's code with its arguments."""
        assert self._stage.run is not None
        if isinstance(self._stage.run, Suggesting | Observing):
            return partial(self._stage.run, self._run.copied(self._value))
        try:
            call = bound(self._stage.run, self._run.copied(self._value), self._at.turns)
        except Mismatch as error:
            raise self._run.failure("contract", error, "its input") from error
        return partial(self._stage.run, *call.args, **call.named)

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
        stage = self._stage
        try:
            if isinstance(stage.run, Suggesting):
                return stage.run.concluded(stage.boundary, self._value, result)
            return stage.boundary.concluded(self._value, result, self._returned)
        except Mismatch as error:
            raise self._run.failure("contract", error, "its output") from error

    async def _transformed(self, output: Any) -> Any:
        changed = False
        for name in ("filter", "transform", "enrich"):
            for function in self._hooks.functions(name):
                given = await self._run.hook(name, function, output)
                output, changed = self._changed(name, output, given), True
        return self._concluded_again(output) if changed else output

    def _changed(self, name: str, output: Any, given: Any) -> Any:
        if name == "filter" and isinstance(given, bool):
            problem = f"it returned {given}; it has to return the part of the output to go on with"
            raise self._run.failure("hook", SweepError(problem), name)
        if name != "enrich" or not isinstance(given, dict) or (known := fields_of(output)) is None:
            return given
        if isinstance(output, dict):
            return replaced(output, given)
        if self._stage.boundary.contract is None:
            return merged(output, given)
        if strangers := given.keys() - known.keys():
            problem = f"{', '.join(sorted(strangers))} is no field of {type_text(type(output))}"
            raise self._run.failure("hook", SweepError(problem), name)
        return replaced(output, given)

    def _concluded_again(self, output: Any) -> Any:
        """What hooks have made of an output has to fit as well."""
        boundary = self._stage.boundary
        if boundary.contract is None and boundary.fields and isinstance(output, Record):
            try:
                return merged(output, conform_fields(vars(output), boundary.fields))
            except Mismatch as error:
                raise self._run.failure("contract", error, "its output") from error
        return self._concluded(output)


def _is_refusal(error: BaseException) -> bool:
    """Whether it says what would be so at each attempt."""
    if isinstance(error, BaseExceptionGroup):
        return all(_is_refusal(one) for one in error.exceptions)
    if isinstance(error, StageFailed):
        return error.failure.kind == "refused"
    return isinstance(error, BudgetSpent | DefinitionError)


def is_retried(policy: RetryPolicy, kind: StageFailureKind, attempts: int) -> bool:
    """Whether a stage gets another attempt; what does not fit today does not fit tomorrow either."""
    return kind in ("user", "oom", "timeout") and policy.again(kind, attempts, 0)
