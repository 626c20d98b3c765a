"""Comparisons: two experiments, or two sweeps, beside each other, from the store alone."""

import json
from collections.abc import Iterator, Mapping
from typing import Literal, TypeAlias

from pydantic import Field, JsonValue

from metta.sweep.client.results import table_of
from metta.sweep.contracts.budgets import Budget
from metta.sweep.contracts.changes import changed_lines
from metta.sweep.contracts.distributions import same
from metta.sweep.contracts.errors import DefinitionError, SweepNotFound
from metta.sweep.contracts.models import Wire
from metta.sweep.contracts.outcomes import AttemptFailed, Began, Finished, StageEnded
from metta.sweep.contracts.plans import At
from metta.sweep.contracts.sweeps import Counts, SweepSpec
from metta.sweep.contracts.sweeps import Row as TrialRow
from metta.sweep.contracts.values import Value
from metta.sweep.stores.base import Store
from metta.sweep.stores.trials import TrialTable

Sameness: TypeAlias = Literal["same", "other", "unknown"]

Pair: TypeAlias = tuple[JsonValue, JsonValue]


class StageSide(Wire):
    """What became of a stage in one of two experiments.

    Args:
        status: How it ended; ``failed`` when it has not.
        attempts: How often its code was tried.
        seconds: How long it took; 0 when it failed.
        metrics: What its hook ``metrics`` kept.
        code: What changes with its code; empty when it is not known.
        input: Hash of what flowed in; empty when it is not known.
    """

    status: str
    attempts: int = 0
    seconds: float = 0.0
    metrics: dict[str, float] = Field(default_factory=dict)
    code: str = ""
    input: str = ""


class StageComparison(Wire):
    """One run of a stage in two experiments.

    Args:
        stage: Its path, and the turns of the loops around it.
        sides: What became of it in each; None where nothing is recorded.
        code: Whether its code was the same.
        data: Whether it gave the same; not known when it failed in either.
        fields: Whether it left the fields of its experiment the same; not known when it failed in either.
        input: Whether the same flowed in, fields that earlier stages have changed included.
    """

    stage: str
    sides: tuple[StageSide | None, StageSide | None]
    code: Sameness
    data: Sameness
    fields: Sameness
    input: Sameness = "unknown"

    @property
    def is_same(self) -> bool:
        """Whether nothing differs but the time that it took."""
        # of older logs the input is not known, which is no difference
        left_out = {"seconds": 0.0, "input": ""}
        one, other = (side and side.model_copy(update=left_out) for side in self.sides)
        return one == other and "other" not in (self.code, self.data, self.fields, self.input)


class ExperimentSide(Wire):
    """One of two experiments.

    Args:
        name: Its name.
        experiment: Reference to its class or pipeline.
        reason: How it ended; empty when no end is recorded.
        message: Why it failed.
        seconds: How long it took since it began, or was begun again; None when no end is recorded.
        seed: Seed of its stages' seeds; None derives them from its name.
        ended: So many stages have ended.
    """

    name: str
    experiment: str
    reason: str = ""
    message: str = ""
    seconds: float | None = None
    seed: int | None = None
    ended: int = 0


class ExperimentComparison(Wire):
    """Two experiments.

    Args:
        sides: The experiments.
        structure: Lines of the plan that differ, each behind ``-`` or ``+``.
        fields: Fields that were given differently.
        final_fields: Fields that stages have made differently by the end, or by what is recorded last.
        input: Whether the same flows into the first stage.
        result: Whether the last stage gave the same.
        stages: Every stage that is recorded of one of them, in the order in which they ended.
    """

    sides: tuple[ExperimentSide, ExperimentSide]
    structure: tuple[str, ...] = ()
    fields: dict[str, Pair] = Field(default_factory=dict)
    final_fields: dict[str, Pair] = Field(default_factory=dict)
    input: Sameness
    result: Sameness
    stages: tuple[StageComparison, ...] = ()


class SweepSide(Wire):
    """One of two sweeps.

    Args:
        name: Its name.
        reason: How it ended; empty when no end is recorded.
        budget: Its limits.
        counts: Its trials.
        metric: The metric that counts, once known.
        best: Its best trial.
    """

    name: str
    reason: str = ""
    budget: Budget = Budget()
    counts: Counts = Counts()
    metric: str | None = None
    best: TrialRow | None = None


class SweepComparison(Wire):
    """Two sweeps.

    Args:
        sides: The sweeps.
        definition: What the second one searches otherwise than the first one, one sentence each.
    """

    sides: tuple[SweepSide, SweepSide]
    definition: tuple[str, ...] = ()


def compared(store: Store, one: str, other: str) -> ExperimentComparison | SweepComparison:
    """Compare two experiments, or two sweeps. Neither needs to be over, and no code of theirs is imported.

    What flowed is compared as it is packed: what was pickled is the same when its bytes are, and results of
    sweeps are those of one name.

    Args:
        store: Where they are recorded.
        one: Name of the first one.
        other: Name of the second one.

    Raises:
        SweepNotFound: When nothing is recorded of one of them.
        DefinitionError: When one is a sweep and the other one an experiment, or both are the same.
        StoreError: When the store cannot be read.
    """
    sweeps = [store.ledger(name).exists() for name in (one, other)]
    for name, is_sweep in zip((one, other), sweeps, strict=True):
        if not is_sweep and not store.outcome_log(name).exists():
            raise SweepNotFound(name, [*store.names(), *store.experiment_names()], "sweep or experiment")
    if one == other:
        raise DefinitionError([f"give two names, got {one} twice"], "the comparison")
    if sweeps[0] != sweeps[1]:
        sweep, experiment = (one, other) if sweeps[0] else (other, one)
        problem = f"{sweep} is a sweep, and {experiment} an experiment: give two of one kind"
        raise DefinitionError([problem], "the comparison")
    return _sweeps(store, one, other) if sweeps[0] else _experiments(store, one, other)


class _Recorded:
    """What counts of an outcome log."""

    def __init__(self, store: Store, name: str) -> None:
        self.began: Began | None = None
        self.finished: Finished | None = None
        self.ended: dict[At, StageEnded] = {}
        self._failing: dict[At, AttemptFailed] = {}
        self._name, self._store = name, store
        for entry in store.outcome_log(name).entries():
            match entry:
                case Began():
                    self.began, self.finished, self._failing = entry, None, {}
                    self.ended = {at: end for at, end in self.ended.items() if not entry.forgets(at)}
                case Finished():
                    self.finished = entry
                case StageEnded():
                    self.ended[entry.at] = entry
                    self._failing.pop(entry.at, None)
                case AttemptFailed():
                    self._failing[entry.at] = entry

    @property
    def runs(self) -> Iterator[At]:
        """Runs of stages, those that have ended first."""
        yield from (*self.ended, *self._failing)

    def stage(self, at: At) -> StageSide | None:
        """What became of a run of a stage."""
        if end := self.ended.get(at):
            told = end.outcome.model_dump(include={"status", "attempts", "metrics"})
            return StageSide(seconds=end.seconds, code=end.code, input=end.input, **told)
        if failing := self._failing.get(at):
            attempts = failing.failure.attempts
            return StageSide(status="failed", attempts=attempts, code=failing.code, input=failing.input)
        return None

    @property
    def last(self) -> Value:
        """What flowed last."""
        if self.finished and self.finished.reason == "completed":
            return self.finished.value
        return next((end.value for end in reversed(self.ended.values())), Value())

    def final_fields(self) -> Mapping[str, JsonValue]:
        """The fields as stages left them."""
        given: Mapping[str, JsonValue] = self.began.fields if self.began else {}
        value = self.last.fields
        if value is None:
            return given
        changed = value.packed
        if value.kept is not None:
            with self._store.data.open(value.kept) as file:
                changed = json.load(file)
        return {**given, **changed} if isinstance(changed, dict) else given

    def side(self) -> ExperimentSide:
        """It as a whole."""
        began, finished = self.began, self.finished
        return ExperimentSide(
            name=self._name,
            experiment=began.experiment if began else "",
            reason=finished.reason if finished else "",
            message=finished.message if finished else "",
            seconds=finished.recorded - began.recorded if began and finished else None,
            seed=began.seed if began else None,
            ended=len(self.ended),
        )


def _experiments(store: Store, one: str, other: str) -> ExperimentComparison:
    first, second = _Recorded(store, one), _Recorded(store, other)
    began, began_other = first.began, second.began
    assert began is not None
    assert began_other is not None
    runs = dict.fromkeys((*first.runs, *second.runs))
    are_over = all(side.finished and side.finished.reason == "completed" for side in (first, second))
    return ExperimentComparison(
        sides=(first.side(), second.side()),
        structure=tuple(changed_lines(began, began_other)),
        fields=_differing(began.fields, began_other.fields),
        final_fields=_differing(first.final_fields(), second.final_fields()),
        input=_sameness(began.input, began_other.input),
        result=_sameness(first.last.alone, second.last.alone) if are_over else "unknown",
        stages=tuple(_stage(at, first, second) for at in runs),
    )


def _stage(at: At, first: _Recorded, second: _Recorded) -> StageComparison:
    sides = first.stage(at), second.stage(at)
    ends = first.ended.get(at), second.ended.get(at)
    values = [end.value for end in ends if end]
    is_over = len(values) == 2
    return StageComparison(
        stage=str(at),
        sides=sides,
        code=_hashes(*(side.code if side else "" for side in sides)),
        data=_sameness(*(value.alone for value in values)) if is_over else "unknown",
        fields=_sameness(*(value.fields for value in values)) if is_over else "unknown",
        input=_hashes(*(side.input if side else "" for side in sides)),
    )


def _hashes(*hashes: str) -> Sameness:
    if not all(hashes):
        return "unknown"
    return "same" if len(set(hashes)) == 1 else "other"


def _differing(one: Mapping[str, JsonValue], other: Mapping[str, JsonValue]) -> dict[str, Pair]:
    names = dict.fromkeys((*one, *other))
    pairs = {name: (one.get(name), other.get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if not same(*pair)}


def _sameness(*values: Value | None) -> Sameness:
    # as text, in which 1, 1.0 and true are not the same
    texts = {value.model_dump_json() if value else "" for value in values}
    return "same" if len(texts) == 1 else "other"


def _sweeps(store: Store, one: str, other: str) -> SweepComparison:
    first, second = table_of(store.ledger(one)), table_of(store.ledger(other))
    return SweepComparison(
        sides=(_sweep(one, first), _sweep(other, second)),
        definition=tuple(_spec(one, first).differences(_spec(other, second))),
    )


def _spec(name: str, table: TrialTable) -> SweepSpec:
    if table.spec is None:
        raise DefinitionError(["nothing is recorded of its definition yet"], f"the sweep {name}")
    return table.spec


def _sweep(name: str, table: TrialTable) -> SweepSide:
    progress = table.progress()
    return SweepSide(
        name=name,
        reason=table.finish.reason if table.finish else "",
        budget=table.control.budget,
        counts=progress.counts,
        metric=progress.metric,
        best=progress.best[0] if progress.best else None,
    )
