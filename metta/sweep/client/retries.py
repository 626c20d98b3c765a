"""Retries: what is over goes on, with what the store knows of it and its code of now."""

import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from metta.sweep.client.launches import Launch
from metta.sweep.client.results import table_of
from metta.sweep.client.stages import stages_of
from metta.sweep.client.starts import Starts
from metta.sweep.contracts.attempts import Code
from metta.sweep.contracts.budgets import Budget, SharedBudget, check_goes_on, limits_of
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.experiments import ExperimentInput, ExperimentState
from metta.sweep.contracts.names import is_of_a_trial
from metta.sweep.contracts.raised import error_of
from metta.sweep.contracts.references import Reference
from metta.sweep.contracts.retries import RetryAnswer, RetryQuestion
from metta.sweep.contracts.sweeps import SweepInput, SweepState
from metta.sweep.stores.spending import Spending, spent_in

if TYPE_CHECKING:
    from metta.sweep.client.experiment_handle import ExperimentHandle
    from metta.sweep.client.handle import SweepHandle

REHEARSAL = "metta.sweep.stages.rehearsal"

SENT = (
    "its code lies in the store as it was sent from a notebook or a function; with other code it goes on by"
    " run(resume=True)"
)

UNKNOWN = (
    "nothing here tells how it was run before: a worker of its own goes on with it, on this machine, with"
    " whatever code it names"
)

NOTHING = "nothing is recorded of it: it was over before it began, so run it again instead"

CLIENT = "metta.sweep"
"""Stamp of inputs of workflows that were checked here."""

ERROR_CHARS = 2000

INTERPRETER = ("PYTHON", "CUDA_", "VIRTUAL_ENV")
"""Beginnings of variables that belong to its interpreter; which server and store those of now say."""


def retried(
    handle: "ExperimentHandle", starts: Starts, stage: str = "", budget: Budget | int | None = None
) -> None:
    """Let an experiment that is over go on.

    Args:
        handle: The experiment.
        starts: Of its project.
        stage: From which stage on it is run again, whatever is recorded; empty lets it go on where it has
            come to.
        budget: Limits that are changed; the others are as they were.

    Raises:
        SweepNotFound: When nobody knows it.
        DefinitionChanged: When it is another experiment by now.
        DefinitionError: When it cannot go on, or not from there, or has spent more than it may.
        ServerError: When there is no server and none can be started.
    """
    name, subject = handle.name, f"the experiment {handle.name}"
    starts.check_is_local(subject)
    _check_name(name, subject)
    stages = stages_of(handle.log)
    state = handle.status_of(stages).state
    _check_over(name, state, subject)
    began, finished = stages.began, stages.finished
    if began is None:
        raise DefinitionError([NOTHING], subject)
    if state == "finished" and finished and finished.reason == "completed" and not stage:
        problem = "it has completed; say from which stage it is to be run again: --from-stage STAGE"
        raise DefinitionError([problem], subject)
    before = (finished or began).budget
    limits = before.changed(limits_of(budget, SharedBudget))
    if limits != before:
        check_goes_on(limits, before, Spending(starts.store).by(name), name)
    launch = _launch_of(starts, name)
    definition = ExperimentInput(
        experiment=began.experiment,
        fields=began.fields,
        defaults=began.defaults,
        budget=limits,
        seed=began.seed,
        owner=began.owner,
        resume=True,
        from_stage=_rehearsed(starts, launch, name, stage),
        client=CLIENT,
    )
    reference = Reference.parse(began.experiment)
    if reference.kind == "value":
        handle.notes = [SENT]
    notes = _go_on(
        *(starts, launch, "Experiment", definition, reference.name),
        has_gone_on=lambda: stages_of(handle.log).began != began,
    )
    handle.notes = [*handle.notes, *notes]


def retried_sweep(handle: "SweepHandle", starts: Starts, budget: Budget | int | None = None) -> None:
    """Let a sweep go on that ended before it was done, or whose budget is changed.

    Args:
        handle: The sweep.
        starts: Of its project.
        budget: Limits that are changed; the others are as they were.

    Raises:
        SweepNotFound: When nobody knows it.
        DefinitionError: When it cannot go on, or has spent more than it may.
        ServerError: When there is no server and none can be started.
    """
    name, subject = handle.name, f"the sweep {handle.name}"
    starts.check_is_local(subject)
    _check_name(name, subject)
    table = table_of(handle.ledger)
    status = handle.status_of(table)
    _check_over(name, status.state, subject)
    if table.spec is None:
        raise DefinitionError([NOTHING], subject)
    if status.state == "finished" and status.reason != "stopped" and budget is None:
        problem = f"it has come to its end ({status.reason}); with a larger budget it may go on: --budget N"
        raise DefinitionError([problem], subject)
    before = table.control.budget
    limits = before.changed(limits_of(budget, Budget))
    check_goes_on(limits, before, spent_in(table), name)
    definition = SweepInput.model_validate(
        {**table.spec.model_dump(), "budget": limits, "resume": True, "client": CLIENT}
    )
    summary = f"sweep of {definition.objective_name}"
    handle.notes = _go_on(
        *(starts, _launch_of(starts, name), "Sweep", definition, summary),
        has_gone_on=lambda: table_of(handle.ledger).epoch != table.epoch,
    )


def _check_name(name: str, subject: str) -> None:
    """Raises when it is a part of something else, which starts it."""
    if "/" not in name:
        return
    root = name.split("/")[0]
    problem = f"it is run by {root}: retry that, with `sweep retry {root}`"
    if is_of_a_trial(name):
        sweep = name.partition("/trial-")[0]
        problem = f"it is a trial of the sweep {sweep}, which tries it again when that goes on"
    raise DefinitionError([problem], subject)


def _check_over(name: str, state: ExperimentState | SweepState, subject: str) -> None:
    """Raises when it is not over."""
    if state in ("running", "stopping"):
        problem = f"it is {state}, and can be retried when it is over: `sweep stop {name}` ends it"
        raise DefinitionError([problem], subject)
    if state == "paused":
        problem = f"it is paused: `sweep resume {name}` lets it go on, `sweep stop {name}` ends it"
        raise DefinitionError([problem], subject)


def _launch_of(starts: Starts, name: str) -> Launch:
    """How its worker was started; where that is not known, it works as this program does."""
    here = str(Path.cwd())
    now = Launch(queue=name, code=Code(objective="", cwd=here, path=(here,)), store=starts.settings.address)
    found = starts.launches.find(name)
    if found is None:
        return now
    kept = {name: value for name, value in found.environment.items() if name.startswith(INTERPRETER)}
    others = {name: value for name, value in now.environment.items() if not name.startswith(INTERPRETER)}
    return found.model_copy(update={"store": now.store, "environment": {**others, **kept}})


def _rehearsed(starts: Starts, launch: Launch, name: str, stage: str) -> str:
    """The stage in full, once its code says that it can go on from there: then nothing was started yet.

    Raises:
        DefinitionError: When it cannot.
    """
    store = starts.store.address
    question = RetryQuestion(
        name=name, stage=stage, code=launch.code, store=store, home=starts.settings.home.absolute()
    )
    command = [launch.interpreter, "-m", REHEARSAL]
    subject = f"the experiment {name}"
    try:
        done = subprocess.run(
            command,
            input=question.model_dump_json(),
            capture_output=True,
            text=True,
            check=False,
            env=launch.variables,
            cwd=launch.code.cwd,
        )
    except OSError as error:
        raise DefinitionError([f"it cannot be started as it was: {error}"], subject) from error
    if done.returncode != 0:
        said = done.stderr[-ERROR_CHARS:]
        problem = f"the process that imports it has ended with {done.returncode}:\n{said}"
        raise DefinitionError([problem.rstrip()], subject)
    answer = RetryAnswer.model_validate_json(done.stdout)
    if refused := error_of(answer.error, [answer.mistakes] if answer.mistakes else []):
        raise refused
    return answer.stage


def _go_on(
    starts: Starts,
    launch: Launch,
    kind: str,
    definition: BaseModel,
    summary: str,
    has_gone_on: Callable[[], bool],
) -> Sequence[str]:
    """Let it go on where it ran before: by a worker of its own, or by those of a shared queue.

    Args:
        starts: Of its project.
        launch: How its worker is started.
        kind: Type of its workflow.
        definition: Input of its workflow.
        summary: One line for people.
        has_gone_on: Whether it has begun again since it was looked at.

    Returns:
        What should be known of that.
    """
    name = launch.queue
    queue = starts.queue_of(name, None, goes_on=True)
    begin = partial(_begun, starts, kind, name, definition, summary, queue, has_gone_on)
    if queue:
        return starts.sent(queue, begin)[1]
    notes = [] if starts.launches.find(name) else [UNKNOWN]
    starts.launches.end(name)  # it may still have the code as it was
    starts.begun_again(launch, begin)
    return notes


async def _begun(
    starts: Starts,
    kind: str,
    name: str,
    definition: BaseModel,
    summary: str,
    queue: str,
    has_gone_on: Callable[[], bool],
) -> None:
    # somebody else's run may have come to its end meanwhile, too
    if has_gone_on() or not await starts.started(kind, name, definition, summary, queue):
        problem = f"somebody else has just begun it again: `sweep attach {name}` watches it"
        raise DefinitionError([problem], f"the {kind.lower()} {name}")
