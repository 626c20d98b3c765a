"""A sweep in which everything happens that a row can tell of."""

from typing import Any

from metta.sweep.contracts.decisions import Retry, Start, Stop
from metta.sweep.contracts.events import Reported
from metta.sweep.stores.trials import TrialTable
from tests.stores.stories import Story

SPACE: dict[str, Any] = {
    "x": {"type": "uniform", "low": 0, "high": 1},
    "model": {"type": "choice", "values": ["cnn", "mlp"]},
    "cnn.depth": {"type": "integer", "low": 2, "high": 5},
    "mlp.bias": {"type": "choice", "values": [True, False]},
    "layers": {"type": "choice", "values": [[32], [64, 32], 'a, "b"\nc']},
    "size": {"type": "ordinal", "values": ["small", "large"]},
}

CNN = {"x": 0.1, "model": "cnn", "cnn.depth": 3, "layers": [64, 32], "size": "large"}
MLP = {"x": 1 / 3, "model": "mlp", "mlp.bias": False, "layers": 'a, "b"\nc', "size": "small"}


def varied() -> TrialTable:
    """Trials that completed, failed, were infeasible, tried again, stopped, paused, and still run."""
    story = Story(search_space=SPACE, metric="accuracy")

    def start(params: dict[str, Any], **fields: Any) -> None:
        story.decide(Start(trial=len(story.table.records), params=params, seed=2**32 - 1, **fields))

    def report(trial: int, step: int, checkpoint: str | None = None, **metrics: float) -> None:
        seq = story.table.records[trial].seq + 1
        of = story.of(trial)
        story.tell(Reported(**of, seq=seq, step=step, metrics=metrics, checkpoint=checkpoint))

    start(CNN)
    report(0, 2, "trials/0/seg-0/try-1/checkpoints/2", accuracy=0.7)
    story.complete(0, accuracy=0.9, cost=12.5)
    start(MLP)
    report(1, 1, accuracy=0.99)
    story.fail(1, "user", 'ValueError: größer\nals “erlaubt”, "x" = 1')
    start(CNN)
    story.fail(2, "infeasible", "does not fit into memory")
    start(MLP)
    story.fail(3, "oom", "boom")
    story.decide(Retry(trial=3, segment=0, attempt=2, delay_s=0.0))
    story.complete(3, accuracy=0.5)
    start(CNN, parent=0, checkpoint_from="trials/0/seg-0/try-1/checkpoints/2")
    report(4, 3, accuracy=0.4)
    story.decide(Stop(trial=4))
    story.end(4)
    start(MLP, until_step=1)
    report(5, 1, accuracy=0.3)
    story.pause(5, 1, "trials/5/seg-0/try-1/checkpoints/1")
    start(CNN)
    return story.table
