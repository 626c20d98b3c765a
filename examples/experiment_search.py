"""Search the settings of an experiment: each trial is a run of its own, stage by stage.

    python examples/experiment_search.py

The parameters of a trial are fields of the experiment; what is not searched keeps the value that is given
here. Kill anything at any moment: stages that are recorded never run again.
`sweep show forests/trial-0/experiment` tells of one trial.
"""

from typing import Any, NamedTuple

from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import train_test_split

from metta.sweep import Integer, Uniform
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import Experiment, SweepExperiment
from metta.sweep.experiments.base import Pipeline


class Trained(NamedTuple):
    """What the next stage needs; it is kept in the store."""

    predicted: list[int]
    diagnosed: list[int]


class Score(NamedTuple):
    """Numbers are metrics; what stands beside them is not."""

    accuracy: float
    missed: int
    about: str


class Forest(Experiment):
    """Tells malignant tumours from benign ones."""

    max_depth: int
    max_features: float = 0.5
    trees: int = 50

    def train(self) -> Trained:
        values, diagnoses = load_breast_cancer(return_X_y=True)
        seen, unseen, known, unknown = train_test_split(
            values, diagnoses, test_size=0.25, random_state=0, stratify=diagnoses
        )
        settings: dict[str, Any] = {"max_depth": self.max_depth, "max_features": self.max_features}
        model = RandomForestClassifier(n_estimators=self.trees, random_state=0, **settings).fit(seen, known)
        return Trained([*map(int, model.predict(unseen))], [*map(int, unknown)])

    def score(self, trained: Trained) -> Score:
        (_, missed), (_, right) = confusion_matrix(trained.diagnosed, trained.predicted)
        correct = [a == b for a, b in zip(trained.diagnosed, trained.predicted, strict=True)]
        return Score(sum(correct) / len(correct), int(missed), f"{int(right)} benign ones were seen as such")

    def pipeline(self) -> Pipeline[Any]:
        return (
            Pipeline()
            .stage("train", self.train)
            .through(Trained)
            .stage("score", self.score)
            .through(Score, log=lambda score: f"{score.missed} malignant ones were missed")
        )


sweep = SweepExperiment(
    objective=Forest(max_depth=4, trees=20),
    search_space={"max_depth": Integer(1, 12), "max_features": Uniform(0.1, 1.0)},
    metric="accuracy",
    seed=1,
    executor=LocalExecutor(max_parallel=2),
    name="forests",
)

if __name__ == "__main__":
    results = sweep.run(budget=8)
    print(f"accuracy {results.best_metric:.3f} with {results.best_params}")
