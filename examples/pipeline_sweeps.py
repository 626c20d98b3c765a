"""Two sweeps side by side, and a model made of what they found: the better one, or both when it is close.

    python examples/pipeline_sweeps.py

A sweep stands where a function may. It runs as a workflow of its own; what flows on is its results.
"""

from functools import cache
from typing import Any, NamedTuple

from sklearn.base import ClassifierMixin
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier, VotingClassifier
from sklearn.model_selection import cross_val_score, train_test_split

from metta.sweep import Integer, LogUniform, Uniform
from metta.sweep.experiments import Results, SweepExperiment
from metta.sweep.experiments.base import Pipeline

CLOSE = 0.01  # a difference in accuracy that may be chance

Params = dict[str, Any]


@cache
def tumours() -> list[Any]:
    """Measurements and diagnoses to learn from, and others to test with."""
    values, diagnoses = load_breast_cancer(return_X_y=True)
    seen, unseen, known, unknown = train_test_split(
        values, diagnoses, test_size=0.25, random_state=0, stratify=diagnoses
    )
    return [(seen, known), (unseen, unknown)]


def forest(params: Params) -> RandomForestClassifier:
    return RandomForestClassifier(n_estimators=20, random_state=0, **params)


def boosting(params: Params) -> GradientBoostingClassifier:
    return GradientBoostingClassifier(n_estimators=20, random_state=0, **params)


def validated(model: ClassifierMixin) -> dict[str, float]:
    return {"accuracy": float(cross_val_score(model, *tumours()[0], cv=3).mean())}


def try_forest(params: Params) -> dict[str, float]:
    return validated(forest(params))


def try_boosting(params: Params) -> dict[str, float]:
    return validated(boosting(params))


class Contest(NamedTuple):
    """The best of each sweep."""

    forest: Params
    boosting: Params
    lead: float  # of the forest, in accuracy


class Chosen(NamedTuple):
    name: str
    model: ClassifierMixin


class Score(NamedTuple):
    name: str
    accuracy: float


def compare(forest: Results, boosting: Results) -> Contest:
    return Contest(forest.best_params, boosting.best_params, forest.best_metric - boosting.best_metric)


def is_close(contest: Contest) -> bool:
    return abs(contest.lead) < CLOSE


def both(contest: Contest) -> Chosen:
    models = [("forest", forest(contest.forest)), ("boosting", boosting(contest.boosting))]
    return Chosen("both", VotingClassifier(models, voting="soft").fit(*tumours()[0]))


def better(contest: Contest) -> Chosen:
    if contest.lead > 0:
        return Chosen("forest", forest(contest.forest).fit(*tumours()[0]))
    return Chosen("boosting", boosting(contest.boosting).fit(*tumours()[0]))


def evaluate(chosen: Chosen) -> Score:
    return Score(chosen.name, float(chosen.model.score(*tumours()[1])))


forests = SweepExperiment(
    try_forest,
    {"max_depth": Integer(2, 12), "max_features": Uniform(0.1, 1.0)},
    metric="accuracy",
    seed=1,
    budget=8,
)
boostings = SweepExperiment(
    try_boosting,
    {"max_depth": Integer(1, 4), "learning_rate": LogUniform(0.03, 1.0)},
    metric="accuracy",
    seed=1,
    budget=8,
)

pipeline = (
    Pipeline()
    .parallel({"forest": forests, "boosting": boostings})
    .stage("compare", compare)
    .through(Contest, log=lambda contest: f"the forest leads by {contest.lead:+.3f}")
    .conditional(is_close, Pipeline().stage("both", both), Pipeline().stage("better", better))
    .stage("evaluate", evaluate)
    .through(Score, validate=lambda score: score.accuracy > 0.9)
)

if __name__ == "__main__":
    score = pipeline.run(name="tumours")
    print(f"{score.name}: {score.accuracy:.1%} of the diagnoses are right")
