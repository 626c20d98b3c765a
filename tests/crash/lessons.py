"""A curriculum that takes its time: each lesson goes on from the weights of the one before."""

import json
from pathlib import Path
from time import sleep

from metta.sweep import Trial
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import CurriculumExperiment, Task
from metta.sweep.optimizers import OptunaOptimizer
from tests.crash import training
from tests.crash.training import State, descended, loss, note


def lesson(trial: Trial) -> None:
    """Fit the line of the training, in as many steps as the lesson has."""
    done, state = 0, State()
    begin = trial.resume_from or trial.params["init_from"]
    if begin:
        done, *numbers = json.loads(Path(begin).read_text("utf-8"))
        state = State(*numbers)
    for step in range(done + 1 if trial.resume_from else 1, trial.params["task.steps"] + 1):
        note(trial, step)
        sleep(training.STEP_S)
        state = descended(state, trial, step)
        checkpoint = trial.checkpoint_dir / f"step-{step}.json"
        checkpoint.write_text(json.dumps([step, *state]), "utf-8")
        trial.report(step=step, loss=loss(state), checkpoint=checkpoint)


class Lessons(CurriculumExperiment):
    """Two lessons that are mastered, one that is not, and one that is not asked for much."""

    objective = lesson
    search_space = training.SPACE
    metric = "loss"
    tasks = (
        Task(name="lines", params={"steps": 6}, mastery=0.05),
        Task(name="better lines", params={"steps": 8}, mastery=0.001),
        Task(name="perfect lines", params={"steps": 4}, mastery=0.0),
        Task(name="any lines", params={"steps": 5}, mastery=1.0),
    )
    max_rounds = 2
    unmastered = "go_on"
    hand_on_weights = True
    optimizer = OptunaOptimizer(sampler="TPE")
    executor = LocalExecutor(max_parallel=1)
    seed = 7
