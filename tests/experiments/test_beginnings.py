"""What sweeps begin with: earlier ones by name, path, list, results and by hand, and points of one's own."""

from pathlib import Path
from typing import Any

import pytest

from metta.sweep import (
    Choice,
    DefinitionError,
    Integer,
    Observation,
    SweepError,
    Trial,
    Uniform,
    configure,
    load_observations,
)
from metta.sweep.client.results import Results, table_of
from metta.sweep.client.settings import Settings
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment
from metta.sweep.optimizers import OptunaOptimizer, RandomOptimizer
from metta.sweep.stores.trials import TrialTable

SPACE = {"x": Uniform(0, 1), "y": Uniform(0, 1)}
ONE = LocalExecutor(max_parallel=1)


def sweep(name: str, **more: Any) -> SweepExperiment:
    """A sweep of TPE that takes all but two trials as a beginning."""
    optimizer = more.pop("optimizer", None) or OptunaOptimizer(n_startup_trials=2)
    options = {"name": name, "optimizer": optimizer, "metric": "accuracy", "seed": 7, "executor": ONE, **more}
    return SweepExperiment("mine.py:train", SPACE, **options)


def earlier(**more: Any) -> Results:
    return SweepExperiment(
        "mine.py:train", SPACE, **{"name": "earlier", "metric": "accuracy", "seed": 3, **more}
    ).run(12, debug=True)


def params(results: Results) -> list[dict[str, Any]]:
    return [record.params for record in results.trials]


def table(name: str) -> TrialTable:
    return table_of(Settings.load().store.ledger(name))


def test_each_way_to_begin_with_an_earlier_sweep_is_the_same(hosted: Path) -> None:
    before = earlier()
    told = OptunaOptimizer(n_startup_trials=2)
    for obs in load_observations("earlier"):
        told.observe(obs.trial, obs.result)
    by_name = params(sweep("by-name", warm_start="earlier").run(4))
    others = {
        "by-path": sweep("by-path", warm_start=Path(".metta-sweep/sweeps/earlier")),
        "by-text": sweep("by-text", warm_start=".metta-sweep/sweeps/earlier/ledger.jsonl"),
        "by-list": sweep("by-list", warm_start=load_observations("earlier")),
        "by-results": sweep("by-results", warm_start=before),
        "by-hand": sweep("by-hand", optimizer=told),
    }
    assert params(sweep("cold").run(4, debug=True)) != by_name
    for name, other in others.items():
        assert params(other.run(4, debug=name not in ("by-list", "by-hand"))) == by_name, name
        assert [known.metrics for known in table(name).known] == [r.metrics for r in before.trials]


def test_what_it_began_with_is_recorded_and_the_earlier_sweep_may_go(hosted: Path) -> None:
    earlier()
    whole = params(sweep("whole", warm_start="earlier").run(6, debug=True))
    first = sweep("split", warm_start="earlier")
    first.run(3, debug=True)
    (hosted / ".metta-sweep/sweeps/earlier/ledger.jsonl").unlink()
    assert params(first.run(6, resume=True)) == whole
    with pytest.raises(SweepError, match="there is no sweep 'earlier' here"):
        sweep("late", warm_start="earlier").run(1)


def test_observations_by_hand_are_added_to_a_warm_start(hosted: Path) -> None:
    earlier()
    optimizer = OptunaOptimizer(SPACE, n_startup_trials=2)
    experiment = sweep("both", optimizer=optimizer, warm_start=["earlier", Observation(Trial(at(0.5)), 0.25)])
    for trial in optimizer.suggest(2):  # as late as this, and its own
        optimizer.observe(trial, {"accuracy": 0.75})
    experiment.run(1, debug=True)
    known = table("both").known
    assert [k.trial for k in known] == list(range(-15, 0))
    assert [k.metrics["accuracy"] for k in known[-3:]] == [0.25, 0.75, 0.75]
    assert known[-3].params == at(0.5)


def at(x: float) -> dict[str, Any]:
    return {"x": x, "y": 0.5}


def test_a_wider_space_leaves_nothing_out_and_a_narrower_one_says_what(
    hosted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = earlier()
    wide = {"x": Uniform(-1, 1), "y": Uniform(0, 2)}
    narrow = {"x": Uniform(0, 0.5), "y": Uniform(0, 1)}
    SweepExperiment("mine.py:train", wide, name="wide", metric="accuracy", warm_start="earlier").run(
        1, debug=True
    )
    assert "cannot be used" not in capsys.readouterr().err
    SweepExperiment("mine.py:train", narrow, name="narrow", metric="accuracy", warm_start="earlier").run(1)
    outside = [record.params["x"] for record in results.trials if record.params["x"] > 0.5]
    assert (
        f"{len(outside)} of 12 trials of the warm start cannot be used, the first of them because"
        f" x must be from 0 to 0.5, got {outside[0]}" in " ".join(capsys.readouterr().err.split())
    )


def test_a_metric_that_the_earlier_sweep_has_not_is_told_before_anything_starts(hosted: Path) -> None:
    earlier()
    with pytest.raises(DefinitionError, match="it gave accuracy, but not 'loss', the metric that counts"):
        sweep("other", metric="loss", warm_start="earlier").start(1)
    assert not table("other").records
    with pytest.raises(DefinitionError, match="itself cannot begin with itself"):
        sweep("itself", warm_start="itself").start(1)


def test_a_bare_number_of_an_earlier_sweep_gets_the_metric_of_the_new_one(hosted: Path) -> None:
    bare = SweepExperiment("mine.py:bare", SPACE, name="bare", goal="maximize", seed=3).run(3, debug=True)
    sweep("named", warm_start="bare").run(1, debug=True)
    assert [known.metrics for known in table("named").known] == [
        {"accuracy": record.params["x"]} for record in bare.trials
    ]


# --- initial points ---


def test_the_first_trials_try_the_initial_points(hosted: Path) -> None:
    points = [{"x": 0.25}, {"x": 0.5, "y": 1}]
    run = params(sweep("points", initial_points=points).run(4))
    assert [run[0]["x"], run[1]] == [0.25, {"x": 0.5, "y": 1}]
    assert params(sweep("again", initial_points=points).run(4, debug=True)) == run
    assert params(sweep("none").run(4, debug=True))[:2] != run[:2]
    with pytest.raises(DefinitionError, match="initial_points was"):
        sweep("points", initial_points=points[:1]).run(5, resume=True)


# --- mistakes ---

Sweep: Any = SweepExperiment


def train(params: dict[str, Any]) -> dict[str, float]:
    return {"accuracy": params["x"]}


def test_all_mistakes_of_all_points_are_told_with_the_others() -> None:
    space = {"x": Uniform(0, 1), "model": Choice(["cnn", "mlp"]), "cnn.layers": Integer(1, 4)}
    points = [{"x": 0.5}, {"X": 1}, {"x": 3, "model": "rnn"}, {"cnn.layers": 2, "model": "mlp"}]
    with pytest.raises(DefinitionError) as caught:
        Sweep(train, space, initial_points=points, warm_start=["a", 3], seed="a")
    assert [str(problem) for problem in caught.value.problems] == [
        "warm_start has to be the name of a sweep, the path of a ledger, results, or a list of these and of"
        " observations, got 3",
        "seed: input should be a valid integer, unable to parse string as an integer, got 'a'",
        "initial_points: point 1: X is unknown. Known: cnn.layers, model, x",
        "initial_points: point 2: x must be from 0 to 1, got 3",
        "initial_points: point 2: model must be one of ['cnn', 'mlp'], got 'rnn'",
        "initial_points: point 3: cnn.layers is inactive, leave it out: it needs model='cnn', but got 'mlp'",
    ]


def test_defaults_of_all_experiments_know_no_observations() -> None:
    optimizer = RandomOptimizer()
    optimizer.observe(Trial(at(0.5)), 0.5)
    with pytest.raises(DefinitionError, match="told observations by hand; give it to the experiment"):
        configure(optimizer=optimizer)
