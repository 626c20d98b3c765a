from pathlib import Path

import numpy as np

from examples import pipeline_train
from examples.pipeline_train import Score, evaluate, pipeline, train


def test_the_model_is_good_and_its_score_plain(tmp_path: Path) -> None:
    score = pipeline.run_local(folder=tmp_path)
    assert type(score) is Score
    assert score.accuracy > 0.95
    assert {type(count) for count in score.mistakes.values()} == {int}
    unseen = len(pipeline_train.digits()[1])
    assert round((1 - score.accuracy) * unseen) == sum(score.mistakes.values())


def test_what_flows_in_is_an_argument_of_the_first_stage(tmp_path: Path) -> None:
    small = pipeline.run_local({"trees": 1}, folder=tmp_path)
    assert small.accuracy < pipeline.run_local(folder=tmp_path).accuracy


def test_stages_are_plain_functions() -> None:
    trained = train()
    trained.labels = np.asarray(trained.model.predict(trained.images), np.int64)
    assert evaluate(trained) == Score(1.0, {})
