"""Fields one by one: what flows is a record whose fields the checkers do not know."""

from typing import Any

from metta.sweep.experiments.base import Pipeline

DEBUG = False
debug_hooks: dict[str, Any] = {"debug": lambda data: breakpoint()}
production_hooks: dict[str, Any] = {"cache": True}


def suggest() -> tuple[list[int], int]:
    return [1, 2], 7


def train(run_id: int, trials: list[int]) -> float:
    return run_id / len(trials)


async def report(score: float, run_id: int = 0) -> None:
    print(score, run_id)


pipeline = (
    Pipeline()
    .stage("suggest", suggest)
    .through(trials=list[int], run_id=int, **(debug_hooks if DEBUG else production_hooks))
    .stage("train", train)
    .through(score=float, validate=lambda record: record.score > 0, retry=3)
    .conditional(lambda record: record.score > 2, lambda record: record, Pipeline().through(score=float))
    .parallel({"score": train, "other": Pipeline().stage("train", train)})
    .stage("report", report)
    .with_global_hooks(log=lambda stage, data: print(stage, data))
)
text: str = pipeline.describe() + pipeline.to_mermaid()
