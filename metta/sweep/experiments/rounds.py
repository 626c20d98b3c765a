"""Rounds: what was found in one round of a task, whatever was run for it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from metta.sweep.contracts.metrics import Goal, Objective, inferred_goal
from metta.sweep.contracts.reports import finite_number
from metta.sweep.experiments.tasks import CurriculumContext, TaskResult, tells_task
from metta.sweep.pipeline.records import fields_of


class Round(NamedTuple):
    """What was found in one round of a task.

    Args:
        score: Value of the metric that counts; None when there is none.
        objective: That metric, and its direction.
        trials: How many trials it took.
        params: The parameters that gave the score.
        metrics: All metrics beside it.
        sweep: Name of the sweep, if it was one.
        checkpoint: Where the weights lie that go with the score.
    """

    score: float | None
    objective: Objective
    trials: int
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    sweep: str | None = None
    checkpoint: str | None = None

    def reaches(self, threshold: float | None) -> bool:
        """Whether its score is as good as a threshold; without one any score is."""
        if threshold is None:
            return True
        return self.score is not None and self.objective.reached(self.score, threshold)

    def added_to(self, result: TaskResult, *, mastered: bool) -> TaskResult:
        """What became of a task with this round, too; the earlier of equal scores stays."""
        best: dict[str, Any] = {}
        if result.score is None or (self.score != result.score and self.reaches(result.score)):
            best = {
                "score": self.score,
                "params": {name: value for name, value in self.params.items() if not tells_task(name)},
                "metrics": dict(self.metrics),
                "checkpoint": self.checkpoint,
            }
        counted = {
            "mastered": mastered,
            "rounds": result.rounds + 1,
            "trials": result.trials + self.trials,
            "sweeps": (*result.sweeps, self.sweep) if self.sweep else result.sweeps,
        }
        return result.model_copy(update={**best, **counted})


def round_of(found: Any, metric: str | None, goal: Goal | None, *, weights: bool = False) -> Round:
    """What was found in a round.

    Args:
        found: What was given for it: results of a sweep, a curriculum's context, a number, or a value with a
            field that is called like the metric.
        metric: The metric that counts, where results do not say it.
        goal: Its direction; None goes by its name.
        weights: Whether to look for the checkpoint of the best trial.

    Raises:
        BadMetric: When the metric is no finite number.
        DefinitionError: When the store keeps checkpoints where other programs find no files.
    """
    from metta.sweep.client.results import Results

    name = metric or "score"
    objective = Objective(name, goal or inferred_goal(name))
    if isinstance(found, Results):
        from metta.sweep.client.checkpoints import best_checkpoint

        best = found.best_trial
        checkpoint = best_checkpoint(found) if weights else None
        return Round(
            score=found.best_metric,
            objective=found.table.objective or objective,
            trials=len(found.trials),
            params=best.params,
            metrics=best.metrics,
            sweep=found.sweep_id,
            checkpoint=str(checkpoint) if checkpoint else None,
        )
    if isinstance(found, CurriculumContext):
        last = found.last or TaskResult(task="")
        return Round(last.score, objective, found.trials, last.params, last.metrics)
    fields = fields_of(found)
    value = found if fields is None else fields.get(name)
    score = None if value is None else finite_number(name, value)
    return Round(score, objective, 1, {}, {} if score is None else {name: score})
