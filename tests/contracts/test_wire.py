"""Everything on the wire: it survives JSON unchanged, and old and new programs understand each other."""

import inspect
import json
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from metta.sweep import contracts
from metta.sweep.contracts.advances import (
    Advance,
    AdvanceOrder,
    Due,
    ExperimentEnd,
    LaneState,
    Measuring,
    SweepWatch,
    TrialNews,
    TrialOrder,
    Trials,
)
from metta.sweep.contracts.attempts import Attempt, AttemptKey, Code
from metta.sweep.contracts.budgets import Budget, Control, SharedBudget, Spent
from metta.sweep.contracts.chunks import Chunk
from metta.sweep.contracts.components import ComponentSpec
from metta.sweep.contracts.consent import Consent
from metta.sweep.contracts.decisions import Decision, Finish, Interrupt, Resume, Retry, Start, Stop
from metta.sweep.contracts.defaults import Defaults
from metta.sweep.contracts.events import (
    Completed,
    ControlChanged,
    Created,
    Event,
    Failed,
    Known,
    Opened,
    Reported,
    SegmentEnded,
    Stopped,
    Tick,
)
from metta.sweep.contracts.experiments import (
    Answer,
    Beginning,
    Child,
    ExperimentControl,
    ExperimentInput,
    ExperimentResult,
    ExperimentSpec,
    ExperimentStatus,
    FinishOrder,
    MergeOrder,
    Order,
    PlanInput,
    RecoverOrder,
    SpentOrder,
    SpentResult,
    StageOrder,
    StageResult,
    Steering,
)
from metta.sweep.contracts.experiments import Row as StageRow
from metta.sweep.contracts.failures import Failure, FailureKind, RetryPolicy
from metta.sweep.contracts.jobs import Job, JobEnd, JobSpec, JobState, ReportLine
from metta.sweep.contracts.models import Edge, Numbered, Wire, Written
from metta.sweep.contracts.nested import NestedEnd, NestedKey, NestedRun, NestedState, ToldError
from metta.sweep.contracts.outcomes import (
    AttemptFailed,
    Began,
    Decided,
    Finished,
    Line,
    Merged,
    NestedEnded,
    StageEnded,
)
from metta.sweep.contracts.plans import (
    At,
    ConditionalStep,
    LoopStep,
    Outcome,
    ParallelStep,
    PipelineStep,
    Plan,
    Position,
    Profile,
    StageFailure,
    StageStep,
)
from metta.sweep.contracts.raised import Mistakes
from metta.sweep.contracts.retries import RetryAnswer, RetryQuestion
from metta.sweep.contracts.spaces import SearchSpace
from metta.sweep.contracts.sweeps import (
    Counts,
    Progress,
    Row,
    SessionInput,
    SessionResult,
    SweepInput,
    SweepResult,
    SweepSpec,
    SweepStatus,
)
from metta.sweep.contracts.trials import Resources
from metta.sweep.contracts.values import Value

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
ABOVE_0 = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
COUNTS = st.integers(0, 10**6)
NAMES = st.text(max_size=4)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | NAMES,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=4,
)
PARAMS = st.dictionaries(NAMES, JSON, max_size=2)
METRICS = st.dictionaries(NAMES, FLOATS, max_size=2)


MODELS: dict[type[Wire], st.SearchStrategy[Any]] = {}
"""Values of each model; a new one needs nothing else here."""


def wire(model: type[Wire], /, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    MODELS[model] = st.builds(model, **fields)
    return MODELS[model]


def maybe(some: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | some


def tuples(some: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(some, max_size=2).map(tuple)


RESOURCES = wire(Resources, cpu=ABOVE_0, gpu=st.integers(0, 8), memory_gib=maybe(ABOVE_0))
LIMITS = {
    "trials": st.integers(1),
    "hours": ABOVE_0,
    "seconds": ABOVE_0,
    "target": FLOATS,
    "epochs": st.integers(1),
    "cost": ABOVE_0,
}
BUDGETS = MODELS[Budget] = st.fixed_dictionaries({}, optional=LIMITS).map(Budget.model_validate)
SHARED = {name: limit for name, limit in LIMITS.items() if name != "target"} | {"trials": COUNTS}
SHARED_BUDGETS = MODELS[SharedBudget] = st.fixed_dictionaries({}, optional=SHARED).map(
    SharedBudget.model_validate
)
CONTROLS = wire(
    Control,
    run=NAMES,
    version=COUNTS,
    budget=BUDGETS,
    stop=st.booleans(),
    pause=st.sampled_from([None, "soon", "now"]),
    concurrency=maybe(st.integers(1)),
)
KINDS = st.sampled_from(get_args(FailureKind))
FAILURES = wire(Failure, kind=KINDS, message=NAMES, traceback=NAMES)
POLICIES = wire(
    RetryPolicy,
    max_attempts=st.integers(2),
    non_retryable=tuples(KINDS.filter(lambda kind: kind != "oom")),
    on_oom=st.sampled_from(["fail", "retry", "grow"]),
    growth=st.floats(min_value=1, exclude_min=True, allow_infinity=False),
    max_memory_gib=maybe(ABOVE_0),
)
STAGES = wire(
    StageStep, path=NAMES, gives=NAMES, retry=POLICIES, timeout_s=maybe(FLOATS), recovers=st.booleans()
)
BODIES = st.lists(STAGES, max_size=2).map(lambda stages: Plan(steps=tuple(stages)))
STEPS = [
    STAGES,
    wire(ParallelStep, path=NAMES, branches=tuples(BODIES)),
    wire(ConditionalStep, path=NAMES, then=BODIES, otherwise=BODIES),
    wire(LoopStep, path=NAMES, body=BODIES, max_iterations=maybe(COUNTS)),
    wire(PipelineStep, path=NAMES, body=BODIES),
]
PLANS = wire(Plan, steps=tuples(st.one_of(STEPS)))
PROFILES = wire(Profile, wall_s=FLOATS, cpu_s=FLOATS, peak_bytes=COUNTS, report=NAMES)
OUTCOMES = wire(
    Outcome, stage=NAMES, attempts=COUNTS, metrics=METRICS, written=tuples(NAMES), profile=maybe(PROFILES)
)
VALUES = wire(Value, packed=JSON, kept=maybe(NAMES), fields=maybe(st.builds(Value, packed=JSON)))
STAGE_FAILURES = wire(
    StageFailure, stage=NAMES, kind=st.just("user"), message=NAMES, attempts=COUNTS, error=maybe(VALUES)
)
MISTAKES = wire(Mistakes, problems=tuples(NAMES), subject=NAMES)
wire(RetryAnswer, stage=NAMES, error=NAMES, mistakes=maybe(MISTAKES))
AT = st.builds(At, NAMES, tuples(COUNTS))
ENTRIES: list[st.SearchStrategy[Any]] = [
    wire(
        Began,
        recorded=FLOATS,
        run=NAMES,
        experiment=NAMES,
        fields=PARAMS,
        input=VALUES,
        fingerprint=NAMES,
        forgotten=st.dictionaries(NAMES, tuples(COUNTS), max_size=2),
    ),
    wire(
        StageEnded,
        recorded=FLOATS,
        at=AT,
        outcome=OUTCOMES,
        value=VALUES,
        code=NAMES,
        seconds=FLOATS,
        input=NAMES,
    ),
    wire(AttemptFailed, recorded=FLOATS, at=AT, failure=STAGE_FAILURES, code=NAMES, input=NAMES),
    wire(Decided, recorded=FLOATS, at=AT, answer=st.booleans()),
    wire(Merged, recorded=FLOATS, at=AT, value=VALUES),
    wire(
        NestedEnded,
        recorded=FLOATS,
        at=AT,
        key=NAMES,
        name=NAMES,
        definition=NAMES,
        budget=JSON,
        value=VALUES,
        seconds=FLOATS,
    ),
    wire(Finished, recorded=FLOATS, reason=st.just("stopped"), value=VALUES, message=NAMES),
]
wire(Line, n=COUNTS, writer=NAMES, entries=tuples(st.one_of(ENTRIES)))
IDENTITY = wire(ExperimentSpec, experiment=NAMES, fields=PARAMS)
STATE = wire(ExperimentControl, pause=st.booleans(), stop=st.booleans(), budget=SHARED_BUDGETS)
SPENT = wire(Spent, trials=COUNTS, epochs=COUNTS, cost=FLOATS, seconds=FLOATS)
wire(Steering, pause=maybe(st.booleans()), stop=st.booleans(), budget=maybe(SHARED_BUDGETS))
wire(SpentOrder, names=tuples(NAMES))
wire(SpentResult, spent=st.dictionaries(NAMES, SPENT, max_size=2))
TOLD = wire(ToldError, kind=NAMES, message=NAMES, details=tuples(JSON))
wire(
    NestedRun,
    at=AT,
    key=NAMES,
    definition=NAMES,
    workflow=st.just("Sweep"),
    input=PARAMS,
    summary=NAMES,
    after=tuples(NAMES),
)
wire(NestedEnd, value=VALUES, error=maybe(TOLD), lasts=st.booleans(), trouble=NAMES)
wire(NestedState, name=NAMES, run=NAMES, error=maybe(TOLD))
wire(NestedKey, at=AT, key=NAMES)
POSITIONS = st.builds(Position[Value], value=VALUES, step=COUNTS, turns=COUNTS)
BEGINNINGS = wire(Beginning, plan=PLANS, position=POSITIONS, ended=COUNTS, spent=SPENT)
wire(
    ExperimentInput,
    experiment=NAMES,
    fields=PARAMS,
    input=JSON,
    given=maybe(VALUES),
    client=NAMES,
    control=STATE,
    beginning=maybe(BEGINNINGS),
)
wire(PlanInput, name=NAMES, spec=IDENTITY, input=JSON, given=maybe(VALUES), resume=st.booleans(), run=NAMES)
ORDER: dict[str, st.SearchStrategy[Any]] = {
    "name": NAMES,
    "spec": IDENTITY,
    "fingerprint": NAMES,
    "inline_bytes": COUNTS,
    "at": AT,
    "value": VALUES,
    "retry": POLICIES,
}
wire(Order, **ORDER)
wire(StageOrder, **ORDER, child=maybe(NAMES))
wire(RecoverOrder, **ORDER, failure=STAGE_FAILURES)
wire(MergeOrder, **ORDER, results=tuples(VALUES))
wire(FinishOrder, name=NAMES, reason=st.just("failed"), value=VALUES, message=NAMES)
wire(StageResult, value=VALUES, outcome=OUTCOMES, decided=maybe(st.tuples(AT, st.booleans())))
wire(Answer, answer=st.booleans())
wire(Child, input=maybe(PARAMS), summary=NAMES, anew=COUNTS)
STAGE_ROWS = wire(StageRow, stage=NAMES, status=NAMES, attempts=COUNTS, seconds=FLOATS, notes=tuples(NAMES))
wire(ExperimentStatus, state=st.just("running"), ended=COUNTS, rows=tuples(STAGE_ROWS), control=STATE)
wire(ExperimentResult, name=NAMES, reason=st.just("stopped"), value=VALUES)
COMPONENTS = wire(ComponentSpec, type=NAMES, options=PARAMS)
SPACE = SearchSpace.from_json(
    {"x": {"type": "uniform", "low": 0, "high": 1}, "y": {"type": "constant", "value": [1]}}
)
SPEC: dict[str, st.SearchStrategy[Any]] = {
    "objective": NAMES,
    "search_space": st.just(SPACE),
    "optimizer": COMPONENTS,
    "metric": maybe(NAMES),
    "goal": st.sampled_from([None, "minimize", "maximize"]),
    "seed": maybe(st.integers()),
    "retry": POLICIES.filter(lambda policy: policy.on_oom != "grow"),  # which needs resources that fit it
    "timeout": maybe(ABOVE_0),
    "resources": RESOURCES,
    "initial_points": tuples(st.just({"x": 0.5})),
    "warm_start": tuples(NAMES),
}
SPECS = wire(SweepSpec, **SPEC)
DEFAULTS = SPEC | {"objective": st.sampled_from([None, "lab:train"])}
wire(Defaults, **{name: maybe(DEFAULTS[name]) for name in DEFAULTS if name in Defaults.model_fields})
ATTEMPT = {"trial": COUNTS, "segment": COUNTS, "attempt": COUNTS}
FACT: dict[str, st.SearchStrategy[Any]] = {"at": FLOATS, **ATTEMPT}
ROWS = wire(Row, trial=COUNTS, value=FLOATS, step=maybe(COUNTS), params=PARAMS)
ALL_COUNTS = wire(Counts, started=COUNTS, running=COUNTS)
PROGRESS = wire(
    Progress,
    counts=ALL_COUNTS,
    best=maybe(tuples(ROWS)),
    elapsed_s=FLOATS,
    note=NAMES,
    failed_attempts=st.dictionaries(NAMES, COUNTS, max_size=2),
    retried=COUNTS,
)
EVENTS: list[st.SearchStrategy[Any]] = [
    wire(Created, at=FLOATS, spec=SPECS),
    wire(
        Known,
        at=FLOATS,
        trial=st.integers(max_value=-1),
        params=PARAMS,
        metrics=METRICS,
        failure=maybe(FAILURES),
        ended_at=maybe(COUNTS),
        seconds=FLOATS,
        source=NAMES,
    ),
    wire(Opened, at=FLOATS, epoch=COUNTS, control=CONTROLS, chain=NAMES, adopts=st.booleans()),
    wire(ControlChanged, at=FLOATS, control=CONTROLS),
    wire(Tick, at=FLOATS),
    wire(Reported, **FACT, seq=COUNTS, step=COUNTS, metrics=METRICS, checkpoint=maybe(NAMES)),
    wire(SegmentEnded, **FACT, seconds=FLOATS, step=COUNTS, checkpoint=maybe(NAMES)),
    wire(Completed, **FACT, seconds=FLOATS, metrics=maybe(METRICS)),
    wire(Failed, **FACT, failure=FAILURES),
    wire(Stopped, **FACT),
]
DECISIONS: list[st.SearchStrategy[Any]] = [
    wire(
        Start,
        trial=COUNTS,
        params=PARAMS,
        seed=COUNTS,
        until_step=maybe(COUNTS),
        last=st.booleans(),
        resources=maybe(RESOURCES),
        parent=maybe(COUNTS),
        checkpoint_from=maybe(NAMES),
    ),
    wire(Resume, trial=COUNTS, segment=COUNTS, until_step=maybe(COUNTS), resources=maybe(RESOURCES)),
    wire(Stop, trial=COUNTS),
    wire(Interrupt, trial=COUNTS),
    wire(Retry, **ATTEMPT, delay_s=FLOATS, resources=maybe(RESOURCES)),
    wire(Finish, reason=st.sampled_from(["budget", "failed"]), message=NAMES),
]
ATTEMPTS = wire(Attempt, **ATTEMPT, params=PARAMS, seed=COUNTS, folder=NAMES, resume_from=maybe(NAMES))
CONSENTS = wire(
    Consent,
    modules=tuples(st.sampled_from(["my_lab", "my_lab.training", "*"])),
    commands=st.booleans(),
    scripts=st.booleans(),
    by_value=st.booleans(),
)
CODE = wire(
    Code,
    objective=NAMES,
    argv=tuples(NAMES),
    cwd=maybe(NAMES),
    path=tuples(NAMES),
    value=maybe(NAMES),
    consent=maybe(CONSENTS),
)
wire(RetryQuestion, name=NAMES, stage=NAMES, code=CODE, store=NAMES, home=NAMES.map(Path))
wire(SweepInput, **SPEC, budget=BUDGETS, resume=st.booleans(), client=NAMES, control=maybe(CONTROLS))
wire(SessionInput, sweep_id=NAMES, spec=SPECS, control=CONTROLS, resume=st.booleans())
wire(SessionResult, progress=PROGRESS, reason=NAMES, message=NAMES, control=CONTROLS, ledger=NAMES)
wire(SweepStatus, state=st.sampled_from(["running", "failed"]), progress=PROGRESS, control=CONTROLS)
wire(SweepResult, sweep_id=NAMES, reason=NAMES, ledger=NAMES, progress=PROGRESS)
JOBS = wire(Job, command=st.lists(NAMES, min_size=1), env=st.dictionaries(NAMES, NAMES), image=maybe(NAMES))
JOB_ENDS = wire(
    JobEnd, code=maybe(COUNTS), signal=maybe(COUNTS), kind=maybe(KINDS), message=NAMES, seconds=FLOATS
)
wire(JobSpec, sweep_id=NAMES, job=JOBS, attempt=ATTEMPTS, timeout_s=maybe(ABOVE_0), ledger_id=NAMES)
wire(JobState, status=st.just("ended"), end=maybe(JOB_ENDS), note=NAMES)
wire(ReportLine, attempt=maybe(COUNTS), step=maybe(COUNTS), metrics=maybe(METRICS), result=JSON)
KEYS = tuples(st.builds(AttemptKey, COUNTS, COUNTS, COUNTS))
NEWS = wire(TrialNews, **ATTEMPT, reports=COUNTS, end=maybe(st.one_of(EVENTS[-4:])), ledger_id=NAMES)
DUE = wire(Due, attempt=ATTEMPTS, delay_s=FLOATS, at=FLOATS)
wire(
    TrialOrder,
    sweep_id=NAMES,
    objective=NAMES | JOBS | IDENTITY,
    executor=COMPONENTS,
    attempt=ATTEMPTS,
    timeout_s=maybe(FLOATS),
    queue=maybe(NAMES),
    is_unwanted=st.booleans(),
    has_begun=st.booleans(),
    ledger_id=NAMES,
    metric=maybe(NAMES),
)
wire(SweepWatch, sweep_id=NAMES)
wire(ExperimentEnd, name=NAMES)
wire(
    Measuring,
    attempt=st.builds(AttemptKey, COUNTS, COUNTS, COUNTS),
    value=VALUES,
    metric=maybe(NAMES),
    seconds=FLOATS,
)
wire(
    AdvanceOrder,
    sweep_id=NAMES,
    spec=SPECS,
    control=CONTROLS,
    chain=NAMES,
    epoch=COUNTS,
    cursor=COUNTS,
    news=tuples(NEWS),
    free=COUNTS,
    again=KEYS,
)
wire(
    Advance,
    epoch=COUNTS,
    cursor=COUNTS,
    control=CONTROLS,
    slots=COUNTS,
    starts=tuples(DUE),
    stops=KEYS,
    finish=maybe(DECISIONS[-1]),
    tick_s=maybe(FLOATS),
    progress=PROGRESS,
    ledger=NAMES,
    ledger_id=NAMES,
)
wire(Trials, sweep_id=NAMES, keys=KEYS, ledger_id=NAMES)
wire(
    LaneState,
    epoch=COUNTS,
    cursor=COUNTS,
    applied=CONTROLS,
    slots=COUNTS,
    running=KEYS,
    due=tuples(DUE),
    news=tuples(NEWS),
    settled=st.booleans(),
    tick_at=maybe(FLOATS),
    ledger_id=NAMES,
)
wire(
    Chunk,
    n=COUNTS,
    writer=NAMES,
    epoch=COUNTS,
    events=tuples(st.one_of(EVENTS)),
    asks=tuples(COUNTS),
    decisions=tuples(st.one_of(DECISIONS)),
)

ALL = pytest.mark.parametrize("model", MODELS)
FEW = settings(max_examples=30)


@ALL
@FEW
@given(data=st.data())
def test_it_survives_json_unchanged(model: type[Wire], data: st.DataObject) -> None:
    value = data.draw(MODELS[model])
    read = model.model_validate_json(value.model_dump_json(by_alias=True))
    assert read == value
    assert read.model_dump(mode="json") == value.model_dump(mode="json")


@ALL
@FEW
@given(data=st.data())
def test_fields_of_a_newer_program_are_passed_over(model: type[Wire], data: st.DataObject) -> None:
    value = data.draw(MODELS[model])
    newer = json.loads(value.model_dump_json(by_alias=True)) | {"nonesuch": [1]}
    assert model.model_validate_json(json.dumps(newer)) == value


@ALL
@settings(max_examples=1)
@given(data=st.data())
def test_it_is_frozen(model: type[Wire], data: st.DataObject) -> None:
    value = data.draw(MODELS[model])
    with pytest.raises(ValidationError, match="frozen"):
        setattr(value, next(iter(model.model_fields)), None)


@given(st.one_of(EVENTS))
def test_an_event_tells_its_own_type(event: Wire) -> None:
    adapter: TypeAdapter[Event] = TypeAdapter(Event)
    assert adapter.validate_json(event.model_dump_json()) == event


@given(st.one_of(DECISIONS))
def test_a_decision_tells_its_own_type(decision: Wire) -> None:
    adapter: TypeAdapter[Decision] = TypeAdapter(Decision)
    assert adapter.validate_json(decision.model_dump_json()) == decision


@given(BUDGETS)
def test_a_budget_still_knows_which_limits_were_given(budget: Budget) -> None:
    given_limits = budget.model_dump_json(exclude_unset=True)
    assert Budget.model_validate_json(given_limits).model_fields_set == budget.model_fields_set


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_json_does_not_have_stay_out(number: float) -> None:
    with pytest.raises(ValidationError, match="finite number"):
        Reported(at=0, trial=0, seq=0, step=0, metrics={"loss": number})


def test_no_model_escapes_these_tests() -> None:
    modules = [import_module(f"{contracts.__name__}.{m.name}") for m in iter_modules(contracts.__path__)]
    classes = {cls for module in modules for _, cls in inspect.getmembers(module, inspect.isclass)}
    models = {
        cls
        for cls in classes
        if issubclass(cls, Wire) and cls not in (Wire, Edge, Numbered, Written) and cls.__name__[0] != "_"
    }
    assert models == set(MODELS)
