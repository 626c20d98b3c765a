"""The builder: pipelines, said stage by stage."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Literal,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypeVar,
    overload,
)

from metta.sweep.contracts.budgets import Budget
from metta.sweep.contracts.failures import RetryPolicy
from metta.sweep.contracts.plans import Plan
from metta.sweep.contracts.trials import Result, Trial
from metta.sweep.pipeline.calls import (
    Call,
    Calls,
    ConditionalCall,
    EndLoopCall,
    GlobalHooksCall,
    LoopCall,
    ParallelCall,
    StageCall,
    ThroughCall,
)
from metta.sweep.pipeline.late import late
from metta.sweep.pipeline.sites import site_of_call

if TYPE_CHECKING:
    from metta.sweep.client.experiment_handle import ExperimentHandle
    from metta.sweep.pipeline.nodes import Experiment
    from metta.sweep.pipeline.planning import Definition

T = TypeVar("T")
U = TypeVar("U")
R = TypeVar("R")
P = ParamSpec("P")

Branch: TypeAlias = "Callable[..., Any] | Pipeline[Any] | Experiment"


class _Suggest(Protocol):
    def __call__(self, n: int) -> list[Trial]: ...


class _Observe(Protocol):
    def __call__(self, trial: Trial, result: Result) -> None: ...


# as type variables, for checkers would check the bodies of lambdas against the protocols themselves
Suggest = TypeVar("Suggest", bound=_Suggest)
Observe = TypeVar("Observe", bound=_Observe)

LOCAL_FOLDER = ".metta-sweep/local"
"""Where local runs keep caches, checkpoints and archives, below the current folder."""


class Pipeline(Generic[T]):
    """Stages, the contracts between them, and hooks at these.

    ::

        pipeline = (
            Pipeline()
            .stage("prepare", prepare)
            .through(Dataset, validate=lambda data: data.rows > 0)
            .stage("train", train)
            .through(Model, retry=3, timeout=300, cache=True)
        )

    Every method returns a new pipeline. Nothing is checked before the whole is used: then all mistakes
    are told at once, each with file and line of the call that made it.
    """

    def __init__(self: "Pipeline[Any]") -> None:
        self._calls: tuple[Call, ...] = ()

    def _with(self, call: Call) -> "Pipeline[Any]":
        pipeline = Pipeline()
        pipeline._calls = (*self._calls, call)
        return pipeline

    @overload
    def stage(self, name: str, run: "Pipeline[R]") -> "Pipeline[R]": ...
    @overload
    def stage(self, name: str, run: "Experiment") -> "Pipeline[Any]": ...
    @overload
    def stage(self, name: str, run: Suggest) -> "Pipeline[Any]": ...  # pyright: ignore[reportInvalidTypeVarUse]
    @overload
    def stage(self, name: str, run: Observe) -> "Pipeline[T]": ...  # pyright: ignore[reportInvalidTypeVarUse]
    @overload
    def stage(self, name: str, run: Callable[[], Awaitable[R]]) -> "Pipeline[R]": ...
    @overload
    def stage(self, name: str, run: Callable[[], R]) -> "Pipeline[R]": ...
    @overload
    def stage(self, name: str, run: Callable[[T], Awaitable[R]]) -> "Pipeline[R]": ...
    @overload
    def stage(self, name: str, run: Callable[[T], R]) -> "Pipeline[R]": ...
    @overload
    def stage(self, name: str, run: Callable[Concatenate[Any, Any, P], Awaitable[R]]) -> "Pipeline[R]": ...
    @overload
    def stage(self, name: str, run: Callable[Concatenate[Any, Any, P], R]) -> "Pipeline[R]": ...
    def stage(self, name: str, run: Any) -> "Pipeline[Any]":
        """Add a stage.

        Args:
            name: Its name, which no other stage of this pipeline has.
            run: A function or method, sync or async, a pipeline, or an experiment such as a sweep, whose
                results flow on. A function takes fields of what flows by parameter name; a single
                parameter that is no field's name takes all of it. Of an optimizer in a field of an
                experiment: ``suggest``, which gives the parameters of one trial as fields, and
                ``observe``, which takes the number that was declared last, and passes on what flows.
        """
        return self._with(StageCall(site_of_call(), name, _calls_of(run)))

    @overload
    def through(
        self: "Pipeline[U]",
        contract: type[U],
        *,
        before: Callable[[Any], object] | None = ...,
        after: Callable[[U], object] | None = ...,
        log: Callable[[U], object] | None = ...,
        metrics: Callable[[U], object] | None = ...,
        debug: Callable[[U], object] | None = ...,
        monitor: Callable[[U], object] | None = ...,
        validate_type: type[Any] | bool | None = ...,
        validate: Callable[[U], object] | None = ...,
        schema: type[Any] | Mapping[str, Any] | None = ...,
        assert_fn: Callable[[U], object] | None = ...,
        transform: Callable[[U], U | Awaitable[U]] | None = ...,
        filter: Callable[[U], U | Awaitable[U]] | None = ...,
        enrich: Callable[[U], U | Mapping[str, Any] | Awaitable[U]] | None = ...,
        serialize: Callable[[U], object] | None = ...,
        retry: int | RetryPolicy | None = ...,
        on_error: Callable[[Any], object] | Callable[[Any, Any], object] | None = ...,
        skip_if: Callable[[Any], object] | None = ...,
        timeout: float | timedelta | None = ...,
        checkpoint: bool | None = ...,
        checkpoint_path: str | Callable[[U], str | Path] | None = ...,
        cache: bool | None = ...,
        cache_key: Callable[[Any], object] | None = ...,
        archive: str | Callable[[U], object] | None = ...,
        profile: bool | Literal["full"] | None = ...,
    ) -> "Pipeline[U]": ...
    @overload
    def through(
        self,
        contract: None = None,
        *,
        before: Callable[[Any], object] | None = ...,
        after: Callable[[Any], object] | None = ...,
        log: Callable[[Any], object] | None = ...,
        metrics: Callable[[Any], object] | None = ...,
        debug: Callable[[Any], object] | None = ...,
        monitor: Callable[[Any], object] | None = ...,
        validate_type: type[Any] | bool | None = ...,
        validate: Callable[[Any], object] | None = ...,
        schema: type[Any] | Mapping[str, Any] | None = ...,
        assert_fn: Callable[[Any], object] | None = ...,
        transform: Callable[[Any], object] | None = ...,
        filter: Callable[[Any], object] | None = ...,
        enrich: Callable[[Any], object] | None = ...,
        serialize: Callable[[Any], object] | None = ...,
        retry: int | RetryPolicy | None = ...,
        on_error: Callable[[Any], object] | Callable[[Any, Any], object] | None = ...,
        skip_if: Callable[[Any], object] | None = ...,
        timeout: float | timedelta | None = ...,
        checkpoint: bool | None = ...,
        checkpoint_path: str | Callable[[Any], str | Path] | None = ...,
        cache: bool | None = ...,
        cache_key: Callable[[Any], object] | None = ...,
        archive: str | Callable[[Any], object] | None = ...,
        profile: bool | Literal["full"] | None = ...,
        **fields: Any,
    ) -> "Pipeline[Any]": ...
    def through(self, contract: Any = None, **said: Any) -> "Pipeline[Any]":
        """Say what the stage before gives, and what happens at its boundary.

        Args:
            contract: A NamedTuple, dataclass or pydantic model, which replaces what flows.
            **said: Types by field, which are merged into what flows, and hooks.
        """
        return self._with(ThroughCall(site_of_call(), contract, said))

    def parallel(
        self,
        branches: "Sequence[Branch] | Mapping[str, Branch]",
    ) -> "Pipeline[Any]":
        """Run branches side by side, each on a copy of what flows.

        Args:
            branches: Functions or pipelines. The results of a list merge field by field; those of a dict
                become fields named by its keys.
        """
        if isinstance(branches, Mapping):
            return self._with(ParallelCall(site_of_call(), {n: _calls_of(b) for n, b in branches.items()}))
        given = [_calls_of(branch) for branch in branches] if isinstance(branches, list | tuple) else branches
        return self._with(ParallelCall(site_of_call(), given))

    def conditional(
        self,
        predicate: Callable[..., Any],
        then: "Branch",
        otherwise: "Branch | None" = None,
    ) -> "Pipeline[Any]":
        """Go on with one of two branches; without ``otherwise`` what flows is passed on."""
        call = ConditionalCall(site_of_call(), predicate, _calls_of(then), _calls_of(otherwise))
        return self._with(call)

    def loop_while(
        self, predicate: Callable[..., Any], *, max_iterations: int | None = None
    ) -> "Pipeline[T]":
        """Repeat what follows up to ``end_loop()`` while a predicate holds; ``iteration`` counts from 0.

        Args:
            predicate: Asked before each turn.
            max_iterations: So many turns at most; it is a failure when the predicate still holds then.
        """
        return self._with(LoopCall(site_of_call(), predicate, max_iterations))

    def end_loop(self) -> "Pipeline[T]":
        """End the innermost loop."""
        return self._with(EndLoopCall(site_of_call()))

    def with_global_hooks(self, **hooks: Any) -> "Pipeline[T]":
        """Add hooks to all boundaries of this pipeline, outside their own.

        Args:
            **hooks: Functions get the stage's path first: ``log=lambda stage, data: ...``. Values such as
                ``retry=3`` hold where a boundary says nothing.
        """
        return self._with(GlobalHooksCall(site_of_call(), hooks))

    def plan(self) -> Plan:
        """The pipeline as plain data.

        Raises:
            PipelineDefinitionError: With every mistake.
        """
        return self.definition.plan

    def describe(self) -> str:
        """The pipeline as text.

        Raises:
            PipelineDefinitionError: With every mistake.
        """
        from metta.sweep.pipeline.pictures import description

        return description(self.definition)

    def to_mermaid(self) -> str:
        """The pipeline as a Mermaid flowchart.

        Raises:
            PipelineDefinitionError: With every mistake.
        """
        from metta.sweep.pipeline.pictures import mermaid

        return mermaid(self.definition)

    def run_local(self, ctx: Any = None, *, folder: str | Path = LOCAL_FOLDER) -> T:
        """Run in this process, with no engine: breakpoints and prints work.

        Args:
            ctx: What flows into the first stage.
            folder: Where caches, checkpoints and archives are kept.

        Returns:
            What the last stage gives.

        Raises:
            PipelineDefinitionError: With every mistake.
            StageFailed: When a stage failed for good; caused by what it raised.
        """
        from metta.sweep.contracts.shelves import Folder
        from metta.sweep.pipeline.local import run_local

        value: T = run_local(self.definition, ctx, Folder(Path(folder))).value
        return value

    def run(
        self,
        input: Any = None,
        *,
        budget: Budget | int | None = None,
        name: str | None = None,
        resume: bool = False,
        debug: bool = False,
        queue: str | None = None,
    ) -> T:
        """Run all stages durably, and show which have ended.

        Everything goes on without this process: Ctrl-C detaches, a second one stops the run.

        Args:
            input: What flows into the first stage.
            budget: What all sweeps within it may spend together; a number is a number of trials.
            name: Name of the run; None generates one.
            resume: Continue the run of this name: attach to it, or go on with what is not done.
            debug: Run in this process; breakpoints and prints work, and nothing is recorded.
            queue: A shared queue, whose workers run it; None takes that of the settings, else, as with an
                empty one, a worker of its own is started.

        Returns:
            What the last stage gives.

        Raises:
            PipelineDefinitionError: With every mistake.
            DefinitionError: When it cannot run from here, or the name is in use.
            StageFailed: When a stage failed for good.
            SweepFailed: When it was stopped or cancelled.
            ServerError: When there is no Temporal server and none can be started.
        """
        from metta.sweep.experiments.runs import run

        value: T = run(self, input, budget=budget, name=name, resume=resume, debug=debug, queue=queue)
        return value

    def start(
        self,
        input: Any = None,
        *,
        budget: Budget | int | None = None,
        name: str | None = None,
        resume: bool = False,
        queue: str | None = None,
    ) -> "ExperimentHandle":
        """Start without waiting for the end; arguments and errors are those of ``run``."""
        from metta.sweep.experiments.runs import start

        return start(self, input, budget=budget, name=name, resume=resume, queue=queue)

    def attach(self, name: str) -> "ExperimentHandle":
        """The handle of a run of this pipeline that was started before.

        Raises:
            SweepNotFound: When there is none of that name.
        """
        from metta.sweep.experiments.runs import attach

        return attach(name, lambda _: self.definition)

    @cached_property
    def definition(self) -> "Definition":
        """The pipeline, checked.

        Raises:
            PipelineDefinitionError: With every mistake.
        """
        from metta.sweep.pipeline.planning import Definition

        return Definition(Calls(self._calls))


def with_late_methods(pipeline: Pipeline[T], owner: Any) -> Pipeline[T]:
    """The pipeline of an experiment, with methods of what its fields hold at the moment.

    Args:
        pipeline: What its method ``pipeline`` has returned.
        owner: The experiment, as it was then.
    """
    made = Pipeline()
    made._calls = late(pipeline._calls, owner)
    return made


def _calls_of(run: Any) -> Any:
    """The calls of a pipeline; anything else as it is."""
    return Calls(run._calls) if isinstance(run, Pipeline) else run
