from typing import NamedTuple

from metta.sweep.experiments.base import Pipeline


class Raw(NamedTuple):
    rows: int


class Model(NamedTuple):
    score: float


def load(path: str) -> Raw:
    return Raw(len(path))


async def train(raw: Raw) -> Model:
    return Model(raw.rows / 2)


Pipeline().stage("load", load).through(rows=int, timeout="1 min")
