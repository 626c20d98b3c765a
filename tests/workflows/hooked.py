"""Experiments with one hook: for every hook one on which it has an effect, and one in which it fails."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from time import sleep
from typing import Any, NamedTuple
from urllib.parse import quote

from metta.sweep import RetryPolicy, current_stage
from metta.sweep.experiments.base import Experiment, Pipeline, Record
from tests.pipeline.recipes import fail_once


class Score(NamedTuple):
    """What flows in, and out of most stages."""

    value: float
    tries: list[int] = []  # noqa: RUF012 - everybody gets copies


class Opaque:
    """What can neither be stored nor told apart from others."""

    def __repr__(self) -> str:
        return "Opaque()"

    def __reduce_ex__(self, protocol: object) -> Any:
        raise TypeError("it has no form")


class Hooking(NamedTuple):
    """A hook at the boundary of a stage.

    Args:
        value: What the hook is.
        stage: The stage.
        contract: What the stage is to give.
        beside: Hooks without which this one does nothing.
    """

    value: Any
    stage: Callable[..., Any]
    contract: Any = Score
    beside: Mapping[str, Any] = {}


def doubled(score: Score) -> Score:
    return Score(score.value * 2)


def untold(score: Score) -> Any:
    return Record(value=score.value / 2)


def broken(score: Score) -> Score:
    raise ValueError("broken")


def unlucky(score: Score) -> Score:
    fail_once()
    return doubled(score)


def slow(score: Score) -> Score:
    sleep(5)
    return score


def opaque(score: Score) -> Any:
    return Opaque()


HELD = Opaque()


def holding(score: Score, held: Opaque = HELD) -> Score:
    return score


def notes(experiment: str) -> Path:
    """Where the hooks of an experiment note what they have seen."""
    return Path(tempfile.gettempdir(), f"notes-{quote(experiment)}")


def noting(answer: Any = None) -> Callable[[Any], Any]:
    """A hook that notes what it is given, spoils it, and gives an answer."""

    def hook(given: Any) -> Any:
        with notes(current_stage().experiment).open("a", encoding="utf-8") as file:
            file.write(f"{given!r}\n")
        if isinstance(given, Score):
            given.tries.append(1)
        return answer

    return hook


def raising(given: Any) -> Any:
    raise KeyError("worse")


ARCHIVED: Mapping[str, Any] = {"archive": "kept/score"}
AT_ONCE = RetryPolicy(max_attempts=2, initial=0)

HOOKINGS: Mapping[str, tuple[Hooking, Hooking | None]] = {
    "skip_if": (Hooking(noting(True), broken), Hooking(raising, doubled)),
    "before": (Hooking(noting(), doubled), Hooking(raising, doubled)),
    "cache": (Hooking(True, doubled), Hooking(True, holding)),
    "cache_key": (Hooking(noting("key"), doubled), Hooking(raising, doubled)),
    "profile": (Hooking("full", doubled), None),
    "retry": (Hooking(AT_ONCE, unlucky), Hooking(AT_ONCE, broken)),
    "timeout": (Hooking(60, doubled), Hooking(0.2, slow)),
    "validate_type": (Hooking(Record, untold, None), Hooking(int, untold, None)),
    "schema": (Hooking({"value": float}, untold, None), Hooking({"value": int}, untold, None)),
    "validate": (Hooking(noting(), doubled), Hooking(raising, doubled)),
    "assert_fn": (Hooking(noting(), doubled), Hooking(noting(False), doubled)),
    "filter": (Hooking(noting(Score(3)), doubled), Hooking(noting(True), doubled)),
    "transform": (Hooking(noting(Score(3)), doubled), Hooking(noting("text"), doubled)),
    "enrich": (Hooking(noting({"tries": [3]}), doubled), Hooking(noting({"stranger": 3}), doubled)),
    "after": (Hooking(noting(), doubled), Hooking(raising, doubled)),
    "log": (Hooking(noting("a text"), doubled), Hooking(raising, doubled)),
    "metrics": (Hooking(noting({"height": 3}), doubled), Hooking(noting(3), doubled)),
    "debug": (Hooking(noting(), doubled), Hooking(raising, doubled)),
    "monitor": (Hooking(noting(), doubled), Hooking(raising, doubled)),
    "serialize": (
        Hooking(noting("a text"), doubled, beside=ARCHIVED),
        Hooking(noting(Opaque()), doubled, beside=ARCHIVED),
    ),
    "checkpoint": (Hooking(True, doubled), Hooking(True, opaque, None)),
    "checkpoint_path": (Hooking(noting("kept/score"), doubled), Hooking(raising, doubled)),
    "archive": (Hooking(noting("kept/score"), doubled), Hooking(noting("../score"), doubled)),
    "on_error": (Hooking(noting(Score(3)), broken), Hooking(raising, broken)),
}
"""By hook: one that has an effect, and one that fails; None where none can."""


class Hooked(Experiment):
    """A stage with a hook that has an effect, or is wrong."""

    hook: str
    wrong: bool

    def pipeline(self) -> Pipeline[Any]:
        right, wrong = HOOKINGS[self.hook]
        hooking = wrong if self.wrong else right
        assert hooking
        hooks = {**hooking.beside, self.hook: hooking.value}
        return Pipeline().stage("score", hooking.stage).through(hooking.contract, **hooks)
