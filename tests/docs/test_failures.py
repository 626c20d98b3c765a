from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from metta.sweep.contracts.decisions import Retry
from metta.sweep.contracts.failures import FREE_RETRIES, TREATMENTS, Failure
from metta.sweep.contracts.trials import Result, Trial
from metta.sweep.optimizers.base import Optimizer
from metta.sweep.optimizers.optuna_study import OptunaStudy, Told
from metta.sweep.stores.observations import observed
from tests.docs.failures import OPTUNA, PAGE, later, page, retried_as
from tests.search.by_hand import ByHand
from tests.search.components import component
from tests.stores.stories import Story, spec

MANY = 20


def test_the_page_is_what_the_table_gives() -> None:
    assert PAGE.read_text("utf-8") == page(), "write it anew: python -m tests.docs.failures"


@pytest.mark.parametrize("kind", TREATMENTS)
def test_what_the_page_says_of_retries_is_so(kind: Any, tmp_path: Path) -> None:
    retry = {"max_attempts": 3, "initial": 2}
    hand = ByHand(tmp_path / "ledger.jsonl", optimizer=component(Hears), retry=retry)
    hand.open(trials=1)
    optimizer = hand.search.optimizer
    assert isinstance(optimizer, Hears)
    hand.tell()
    delays: list[float] = []
    while len(delays) < MANY and hand.tell(hand.fail(0, kind)) != ["finish failed"]:
        [decision] = hand.chunks[-1].decisions
        assert isinstance(decision, Retry)
        delays.append(decision.delay_s)
        assert optimizer.heard == []
    how = retried_as(TREATMENTS[kind])
    assert len(delays) == {"policy": 2, "never": 0, "free": FREE_RETRIES}[how]
    assert delays[:2] == {"policy": [2, 4], "never": [], "free": [0, 4]}[how]
    assert optimizer.heard == [kind]


@pytest.mark.parametrize("kind", TREATMENTS)
def test_what_the_page_says_of_optuna_and_later_sweeps_is_so(kind: Any) -> None:
    study = OptunaStudy(spec().search_space, constrained=True)
    study.add(0, {"x": 0.5})
    study.tell(0, Told({"x": 0.5}, Failure(kind=kind, message="boom")))
    [trial] = study._study.trials
    assert (trial.state is TrialState.FAIL) == (kind not in OPTUNA)
    assert any(value > 0 for value in trial.constraints.values()) == (kind in OPTUNA)

    story = Story()
    story.start()
    story.fail(0, kind)
    known = ["told"] if observed(story.table.records) else ["not told"]
    assert known == [later(TREATMENTS[kind])]


class Hears(Optimizer):
    """Notes the kinds of failures that it is told."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def suggest(self, n: int) -> list[Trial]:
        return [Trial({"x": 0.5})] * n

    def observe(self, trial: Trial, result: Result) -> None:
        assert isinstance(result, Failure)
        self.heard.append(result.kind)
