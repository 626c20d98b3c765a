"""Again: one recorded stage of an experiment, run in this process with what flowed into it then."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, NamedTuple, TypeAlias

from metta.sweep.contracts.blobs import Blobs, Write
from metta.sweep.contracts.defaults import travelled
from metta.sweep.contracts.errors import (
    DefinitionError,
    StageFailed,
    SweepError,
    SweepFailed,
    SweepNotFound,
    nearest,
)
from metta.sweep.contracts.nested import NestedEnd, NestedRun, ToldError, child_name
from metta.sweep.contracts.nesting import NOWHERE, nested_in
from metta.sweep.contracts.outcomes import Began
from metta.sweep.contracts.plans import At
from metta.sweep.contracts.shelves import Folder
from metta.sweep.contracts.stages import running_stage
from metta.sweep.contracts.values import Value
from metta.sweep.pipeline.keeping import ShelfBlobs, packer_for
from metta.sweep.pipeline.nodes import Stage
from metta.sweep.pipeline.runner import StageRun
from metta.sweep.pipeline.state import Fields, State, Unfit, held, opened
from metta.sweep.stages.experiments import Loaded, loaded_again
from metta.sweep.stages.nesting import Asking, StageNesting
from metta.sweep.stages.restarts import NAME, listed, reached
from metta.sweep.stores.base import Store
from metta.sweep.stores.outcomes import Outcomes
from metta.sweep.stores.trials import TrialTable

Debug: TypeAlias = Callable[[BaseException], None]


class Again(NamedTuple):
    """What a stage gave this time.

    Args:
        at: Which run of which stage.
        value: What it gave; None when it failed.
        failure: How it failed; None when it did not.
        fields: Fields of its experiment that are not as they were given, behind it.
    """

    at: At
    value: Any
    failure: StageFailed | None
    fields: Mapping[str, Any]


def run_again(store: Store, name: str, stage: str, *, pickle: bool, debug: Debug | None = None) -> Again:
    """Run a stage of an experiment again, here, with the input, the fields and the seed that it had.

    What its hooks would keep goes to a folder that is deleted; nothing is recorded. Its code is that of now.
    Sweeps and experiments that it runs give what they gave then; none is started.

    Args:
        store: Where the experiment is recorded.
        name: Its name.
        stage: The stage's path, and the turns of the loops around it: ``refine/train[2,0]``; without them
            the last one that was run.
        pickle: Whether values that were pickled may be read.
        debug: Is called with what the stage raised, while the fields are still as it left them.

    Raises:
        SweepNotFound: When nothing is recorded of it.
        DefinitionError: When there is no such stage, it has not been reached, it has a workflow of its own,
            or the experiment is another one by now.
        StoreError: When the store cannot be read.
    """
    outcomes = Outcomes(store.outcome_log(name))
    outcomes.refresh()
    began = outcomes.began
    if began is None:
        raise SweepNotFound(name, store.experiment_names(), "experiment")
    experiment = _loaded(began, store, name)
    node, at, flowing = _node(experiment, outcomes, stage, name)
    packer = packer_for(experiment.definition, store.data, pickle=pickle)
    fields: Fields = packer.unkept(flowing.fields) if flowing.fields else {}
    anew = outcomes.times_forgotten(at)
    state, asking = experiment.state, Asking(name, at, began.seed, anew=anew)
    with (
        TemporaryDirectory() as folder,
        _fitting(state, fields, at),
        opened(state),
        running_stage(name, at, began.seed),
        travelled(began.defaults, everywhere=True),
        nested_in(NOWHERE),
    ):
        shelf, value = Folder(Path(folder)), packer.unkept(flowing)
        aside = packer.with_blobs(_Aside(store.data, ShelfBlobs(shelf)))
        place = StageNesting(partial(_recorded, store, outcomes, name), asking, store, pickle=pickle)
        within = partial(nested_in, place, everywhere=True)
        run = StageRun(node, at, value, shelf, aside, debugging=True, failed=0, state=state, within=within)
        try:
            given = asyncio.run(run.value())
        except StageFailed as failure:
            if debug and failure.__cause__:
                debug(failure.__cause__)
            return Again(at, None, failure, {})
        return Again(at, given, None, state.changed() if state else {})


def _recorded(store: Store, outcomes: Outcomes, name: str, run: NestedRun) -> Future[NestedEnd]:
    """How a nested run ended then."""
    future = Future[NestedEnd]()
    found = outcomes.nested(run.at, run.key)
    if found and found.definition == run.definition:
        future.set_result(NestedEnd(value=found.value))
    else:
        child = child_name(name, run.at, run.key)
        problem = f"{child} gave nothing that is recorded, and a stage that is replayed starts nothing"
        error = _failure(store, child, run.workflow) or SweepFailed(problem)
        future.set_result(NestedEnd(error=ToldError.of(error)))
    return future


def _failure(store: Store, name: str, workflow: str) -> SweepError | None:
    """What is recorded of why a run failed; None when it has not."""
    if workflow == "Sweep":
        finish = TrialTable(store.ledger(name).read()).finish
        return SweepFailed(finish.message) if finish and finish.reason == "failed" else None
    outcomes = Outcomes(store.outcome_log(name))
    outcomes.refresh()
    if failure := outcomes.fatal:
        return StageFailed(failure)
    finished = outcomes.finished
    return SweepFailed(finished.message) if finished and finished.reason == "failed" else None


class _Aside:
    """Blobs of a store, which is left as it is: what is put lies elsewhere."""

    store = ""

    def __init__(self, kept: Blobs, aside: Blobs) -> None:
        self._kept, self._aside = kept, aside

    def put(self, suffix: str, write: Write) -> str:
        """Keep what a function writes, elsewhere."""
        return self._aside.put(suffix, write)

    def open(self, name: str) -> IO[bytes]:
        """A file to read from."""
        try:
            return self._aside.open(name)
        except SweepError:
            return self._kept.open(name)


@contextmanager
def _fitting(state: State | None, fields: Fields, at: At) -> Iterator[None]:
    """Within it fields are as they flowed; raises when they are not what is recorded any more."""
    with ExitStack() as stack:
        try:
            stack.enter_context(held(state, fields))
        except Unfit as error:
            problem = f"what is recorded of its fields does not fit any more: {error}"
            raise DefinitionError([problem], str(at)) from error
        yield


def _loaded(began: Began, store: Store, name: str) -> Loaded:
    experiment = loaded_again(began.spec, store)
    if experiment.definition.plan.fingerprint != began.fingerprint:
        problem = "its pipeline was changed since: undo that, or run the new one under another name"
        raise DefinitionError([problem], f"the experiment {name}")
    return experiment


def _node(experiment: Loaded, outcomes: Outcomes, stage: str, name: str) -> tuple[Stage, At, Value]:
    """A stage, which run of it is meant, and what flowed into that."""
    said = NAME.fullmatch(stage)
    path = said["path"] if said else stage
    node = experiment.definition.nodes.get(path)
    if not isinstance(node, Stage):
        stages = [p for p, found in experiment.definition.nodes.items() if isinstance(found, Stage)]
        problem = f"there is no stage {path or repr(path)}{nearest(path, stages)}"
        raise DefinitionError([problem], f"the experiment {name}")
    flowing = reached(experiment.definition.plan, outcomes)
    runs = [run for run in flowing if run.path == path]
    turns = tuple(map(int, said["turns"].split(","))) if said and said["turns"] else None
    at = At(path, turns) if turns is not None else (runs[-1] if runs else None)
    if at is None:
        raise DefinitionError([f"the stage {path} was not reached"], f"the experiment {name}")
    if node.experiment is not None:
        problem = f"{at} has a workflow of its own: see `sweep show`, and replay the stages of that"
        raise DefinitionError([problem], f"the experiment {name}")
    if at not in flowing:
        problem = f"{at} was not reached; it was run as {listed(runs)}"
        raise DefinitionError([problem], "the stage")
    return node, at, flowing[at]
