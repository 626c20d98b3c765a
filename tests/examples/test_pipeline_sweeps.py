from pathlib import Path

import pytest

from examples import pipeline_sweeps as example
from examples.pipeline_sweeps import Contest, Score, better, both, evaluate, is_close, pipeline

BOOSTING, FOREST = {"max_depth": 2, "learning_rate": 0.3}, {"max_depth": 5, "max_features": 0.5}


@pytest.mark.parametrize(
    ("lead", "name"), [(0.001, "both"), (-0.001, "both"), (0.05, "forest"), (-0.05, "boosting")]
)
def test_the_better_one_is_chosen_or_both_when_it_is_close(lead: float, name: str) -> None:
    contest = Contest(FOREST, BOOSTING, lead)
    chosen = both(contest) if is_close(contest) else better(contest)
    assert chosen.name == name
    assert evaluate(chosen).accuracy > 0.9


@pytest.mark.parametrize(("close", "names"), [(1.0, {"both"}), (0.0, {"forest", "boosting"})])
def test_two_sweeps_end_in_one_score(
    close: float, names: set[str], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(example, "CLOSE", close)
    score = pipeline.run_local()
    assert type(score) is Score
    assert score.name in names
    assert score.accuracy > 0.9
