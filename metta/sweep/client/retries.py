"""Retries: an experiment that is over goes on, with what the store knows of it and its code of now."""

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from metta.sweep.client.launches import Launch
from metta.sweep.client.stages import Stages, stages_of
from metta.sweep.client.starts import Starts
from metta.sweep.contracts.attempts import Code
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.experiments import ExperimentInput, ExperimentState
from metta.sweep.contracts.names import is_of_a_trial
from metta.sweep.contracts.outcomes import Began
from metta.sweep.contracts.raised import error_of
from metta.sweep.contracts.references import Reference
from metta.sweep.contracts.retries import RetryAnswer, RetryQuestion

if TYPE_CHECKING:
    from metta.sweep.client.experiment_handle import ExperimentHandle

REHEARSAL = "metta.sweep.stages.rehearsal"

SENT = (
    "its code lies in the store as it was sent from a notebook or a function; with other code it goes on by"
    " run(resume=True)"
)

ERROR_CHARS = 2000

INTERPRETER = ("PYTHON", "CUDA_", "VIRTUAL_ENV")
"""Beginnings of variables that belong to its interpreter; which server and store those of now say."""


def retried(handle: "ExperimentHandle", starts: Starts, stage: str = "") -> None:
    """Let an experiment that is over go on.

    Args:
        handle: The experiment.
        starts: Of its project.
        stage: From which stage on it is run again, whatever is recorded; empty lets it go on where it has
            come to.

    Raises:
        SweepNotFound: When nobody knows it.
        DefinitionChanged: When it is another experiment by now.
        DefinitionError: When it cannot go on, or not from there.
        ServerError: When there is no server and none can be started.
    """
    name = handle.name
    starts.check_is_local(f"the experiment {name}")
    stages = stages_of(handle.log)
    _check_name(name)
    _check_over(name, handle.status_of(stages).state, stages, stage)
    began = stages.began
    if began is None:
        raise DefinitionError(
            ["nothing is recorded of it: it failed before it began; run it again"], f"the experiment {name}"
        )
    launch = _launch_of(starts, name)
    stage = _rehearsed(starts, launch, name, stage)
    if Reference.parse(began.experiment).kind == "value":
        handle.notes = [SENT]
    starts.begun_again(launch, lambda: _started(starts, name, began, stage))


def _check_name(name: str) -> None:
    """Raises when it is a part of something else, which starts it."""
    if "/" not in name:
        return
    root = name.split("/")[0]
    problem = f"it is run by {root}: retry that, with `sweep retry {root}`"
    if is_of_a_trial(name):
        sweep = name.partition("/trial-")[0]
        problem = f"it is a trial of the sweep {sweep}, which tries it again when that goes on"
    raise DefinitionError([problem], f"the experiment {name}")


def _check_over(name: str, state: ExperimentState, stages: Stages, stage: str) -> None:
    """Raises when there is nothing to go on with."""
    problem = ""
    if state in ("running", "stopping"):
        problem = f"it is {state}, and can be retried when it is over: `sweep stop {name}` ends it"
    elif state == "paused":
        problem = f"it is paused: `sweep resume {name}` lets it go on, `sweep stop {name}` ends it"
    elif state == "finished" and stages.finished and stages.finished.reason == "completed" and not stage:
        problem = "it has completed; say from which stage it is to be run again: --from-stage STAGE"
    if problem:
        raise DefinitionError([problem], f"the experiment {name}")


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


async def _started(starts: Starts, name: str, began: Began, stage: str) -> None:
    definition = ExperimentInput(
        experiment=began.experiment,
        fields=began.fields,
        seed=began.seed,
        owner=began.owner,
        resume=True,
        from_stage=stage,
        client="metta.sweep",
    )
    summary = Reference.parse(began.experiment).name
    if not await starts.started("Experiment", name, definition, summary):
        problem = "somebody else has just begun it again: `sweep attach` watches it"
        raise DefinitionError([problem], f"the experiment {name}")
