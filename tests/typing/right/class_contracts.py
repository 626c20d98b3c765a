"""Class contracts, methods, coroutines and hooks of the right types."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

from pydantic import BaseModel

from metta.sweep import RetryPolicy, exponential
from metta.sweep.experiments.base import HookSet, Pipeline


class Raw(NamedTuple):
    rows: int


@dataclass
class Clean:
    rows: int


class Model(BaseModel):
    score: float


class Trainer:
    def train(self, data: Clean) -> Model:
        return Model(score=data.rows / 2)

    async def tune(self, model: Model) -> Model:
        return model


def load(path: str) -> Raw:
    return Raw(len(path))


def clean(raw: Raw) -> Clean:
    return Clean(raw.rows)


def combine(score: float, bonus: float = 1) -> Model:
    return Model(score=score + bonus)


trainer = Trainer()
hooks: dict[str, Any] = {"retry": 3, "log": print}
production = HookSet(cache=True) | {"timeout": 60}

half: Pipeline[Clean] = (
    Pipeline()
    .stage("load", load)
    .through(Raw, validate=lambda raw: raw.rows > 0, filter=lambda raw: raw._replace(rows=1))
    .stage("clean", clean)
    .through(Clean, **hooks)
)
whole: Pipeline[Model] = (
    half.stage("train", trainer.train)
    .through(
        Model,
        retry=RetryPolicy(max_attempts=3, backoff=lambda attempt: attempt * 0.5),
        timeout=timedelta(minutes=1),
        on_error=lambda error, data: Model(score=0),
        checkpoint_path=lambda model: f"models/{model.score}",
        profile="full",
    )
    .stage("tune", trainer.tune)
    .through(Model, **production)
    .loop_while(lambda score, iteration: iteration < 3)
    .stage("again", trainer.tune)
    .through(Model, retry=RetryPolicy(backoff=exponential), schema={"score": float})
    .end_loop()
    .stage("combine", combine)
    .stage("nested", Pipeline().through(Model))
)
text: str = whole.describe()


def run() -> Model:
    return whole.run_local("data")


Pipeline().through(Raw).stage("lambda", lambda raw: Clean(raw.rows)).through(Clean)
