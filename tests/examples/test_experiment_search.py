from pathlib import Path

from examples.experiment_search import Forest, Score, sweep


def test_an_experiment_is_scored_by_itself() -> None:
    score = Forest(max_depth=4, trees=10).run_local()
    assert type(score) is Score
    assert score.accuracy > 0.9


def test_the_search_finds_settings_by_running_it(project: Path) -> None:
    results = sweep.run(4, debug=True)
    assert results.best_metric > 0.9
    assert [trial.metrics.keys() for trial in results.trials] == [{"accuracy", "missed"}] * 4
