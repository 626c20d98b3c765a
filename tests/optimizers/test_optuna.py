import random
from typing import Any

import optuna
import pytest
from optuna.samplers import BaseSampler, CmaEsSampler, RandomSampler, TPESampler

from metta.sweep.contracts.components import create
from metta.sweep.contracts.distributions import Choice, Constant, Integer, LogUniform, Uniform
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.failures import Failure
from metta.sweep.contracts.seeds import derived_seed
from metta.sweep.contracts.spaces import SearchSpace
from metta.sweep.contracts.trials import Result, Trial
from metta.sweep.optimizers.base import Optimizer
from metta.sweep.optimizers.optuna import OptunaOptimizer

FLAT = SearchSpace({"x": Uniform(-5, 5), "lr": LogUniform(1e-4, 1), "n": Integer(1, 8)})
CONDITIONAL = SearchSpace(
    {
        "model": Choice(["cnn", "mlp"]),
        "cnn.layers": Integer(1, 4),
        "mlp.width": Integer(16, 1024, log=True),
        "lr": LogUniform(1e-4, 1),
        "shape": Constant([1, 2]),
        "dropout": Uniform(0, 1, step=0.25),
    }
)


def loss(params: dict[str, Any]) -> float:
    return float(sum(v**2 for v in params.values() if isinstance(v, int | float)))


def result(trial: Trial) -> Result:
    if trial.number % 7 == 5:
        return Failure(kind="infeasible" if trial.number % 2 else "user", message="no")
    return {"loss": loss(trial.params)}


class Life:
    """Three trials are always pending, and end in an order of their own."""

    def __init__(self, optimizer: OptunaOptimizer, seed: int = 0) -> None:
        self.optimizer = optimizer
        self.told: list[tuple[Trial, Result | None]] = []
        self._pending: list[Trial] = []
        self._rng = random.Random(seed)

    def live(self, trials: int) -> list[dict[str, Any]]:
        return [self.step() for _ in range(trials)]

    def step(self) -> dict[str, Any]:
        [trial] = self.optimizer.suggest(1)
        self._pending.append(trial)
        self.told.append((trial, None))
        if len(self._pending) > 3:
            over = self._pending.pop(self._rng.randrange(4))
            paused = Trial(over.params, over.number, ended_at=3 if over.number % 3 else None)
            self.optimizer.observe(paused, result(over))
            self.told.append((paused, result(over)))
        return trial.params


@pytest.mark.parametrize("space", [FLAT, CONDITIONAL], ids=["flat", "conditional"])
@pytest.mark.parametrize("cut", [1, 12, 30])
def test_one_that_is_told_what_is_recorded_goes_on_like_the_old_one(space: SearchSpace, cut: int) -> None:
    undisturbed = Life(OptunaOptimizer(space, seed=3)).live(45)
    life = Life(OptunaOptimizer(space, seed=3))
    begun = life.live(cut)
    reborn = OptunaOptimizer(space, seed=3)
    for trial, told in life.told:
        if told is None:
            reborn.remember(trial)
        else:
            reborn.observe(trial, told)
    reborn.next_number = life.optimizer.next_number
    life.optimizer = reborn
    assert begun + life.live(45 - cut) == undisturbed


def test_it_suggests_what_tpe_itself_suggests_with_the_same_seed() -> None:
    optimizer = OptunaOptimizer({"x": Uniform(-5, 5), "y": Uniform(0, 1)}, sampler=TPESampler(seed=4))
    study = optuna.create_study(sampler=TPESampler(seed=4))
    for _ in range(30):
        [trial] = optimizer.suggest(1)
        bare = study.ask()
        params = {"x": bare.suggest_float("x", -5, 5), "y": bare.suggest_float("y", 0, 1)}
        assert trial.params == params
        study.tell(bare, loss(params))
        optimizer.observe(trial, {"loss": loss(params)})


def test_another_seed_for_each_suggestion_is_as_good_as_a_new_sampler() -> None:
    reused = OptunaOptimizer(FLAT, seed=5, n_startup_trials=5)
    renewed = OptunaOptimizer(FLAT, seed=5, sampler=lambda seed: TPESampler(seed=seed, n_startup_trials=5))
    assert Life(reused).live(40) == Life(renewed).live(40)


def test_with_earlier_trials_it_suggests_what_optuna_does_with_trials_that_were_added() -> None:
    optimizer = OptunaOptimizer(FLAT, seed=5, n_startup_trials=5)
    study = optuna.create_study()
    shapes = {
        "x": optuna.distributions.FloatDistribution(-5, 5),
        "lr": optuna.distributions.FloatDistribution(1e-4, 1, log=True),
        "n": optuna.distributions.IntDistribution(1, 8),
    }
    cold = [trial.params for trial in OptunaOptimizer(FLAT, seed=5, n_startup_trials=5).suggest(2)]
    for number in range(-20, 0):
        params = FLAT.sample(random.Random(number))
        optimizer.observe(Trial(params, number), {"loss": loss(params)})
        study.add_trial(optuna.trial.create_trial(params=params, distributions=shapes, value=loss(params)))
    for number in range(2):
        study.sampler = TPESampler(seed=derived_seed(5, number, "suggest"), n_startup_trials=5)
        [trial] = optimizer.suggest(1)
        assert trial.number == number
        assert trial.params == study.ask(shapes).params != cold[number]


def test_trials_count_in_the_order_of_their_numbers_whenever_it_is_told_of_them() -> None:
    def after(numbers: range) -> list[dict[str, Any]]:
        optimizer = OptunaOptimizer(FLAT, seed=5, n_startup_trials=5)
        for number in numbers:
            params = FLAT.sample(random.Random(number))
            optimizer.observe(Trial(params, number), {"loss": loss(params)})
        return [trial.params for trial in optimizer.suggest(3)]

    assert after(range(-12, 0)) == after(range(-1, -13, -1))


def test_more_of_a_metric_is_less_of_a_loss() -> None:
    def suggested(metric: str, sign: float) -> list[dict[str, Any]]:
        optimizer = OptunaOptimizer({"x": Uniform(0, 1)}, seed=1)
        suggested = []
        for _ in range(25):
            [trial] = optimizer.suggest(1)
            optimizer.observe(trial, {metric: sign * trial.params["x"]})
            suggested.append(trial.params)
        return suggested

    assert suggested("accuracy", -1.0) == suggested("loss", 1.0) != suggested("accuracy", 1.0)


def test_a_trial_that_is_observed_again_counts_with_its_later_result() -> None:
    def after(results: list[float]) -> list[dict[str, Any]]:
        optimizer = OptunaOptimizer({"x": Uniform(0, 1)}, seed=1)
        trials = optimizer.suggest(12)
        for trial in trials:
            optimizer.observe(trial, {"loss": trial.params["x"]})
        for value in results:
            optimizer.observe(Trial(trials[4].params, 4), {"loss": value})
        return [trial.params for trial in optimizer.suggest(3)]

    assert after([5.0, -1.0]) == after([-1.0]) != after([5.0])


def cmaes(seed: int) -> BaseSampler:
    return CmaEsSampler(seed=seed)


@pytest.mark.parametrize("sampler", [RandomSampler(seed=3), TPESampler(seed=3), cmaes])
def test_samplers_of_optuna_can_be_handed_to_another_process(sampler: Any) -> None:
    here = OptunaOptimizer(FLAT, sampler=sampler, seed=1)
    there = create(Optimizer, here.spec())
    assert isinstance(there, OptunaOptimizer)
    assert there.stateless == (sampler is cmaes)
    there.search_space = FLAT
    assert Life(there).live(15) == Life(here).live(15)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": "TPI"}, 'sampler has to be "TPE"'),
        ({"n_startup_trial": 3}, "n_startup_trial is unknown; did you mean n_startup_trials?"),
        ({"sampler": cmaes, "multivariate": True}, "multivariate is an argument of TPE"),
        ({"sampler": "metta.nowhere:make"}, "metta.nowhere:make cannot be imported"),
    ],
)
def test_wrong_arguments_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError) as error:
        OptunaOptimizer(FLAT, **options)
    assert message in str(error.value)


def test_a_bare_number_needs_a_direction() -> None:
    optimizer = OptunaOptimizer(FLAT)
    [trial] = optimizer.suggest(1)
    with pytest.raises(DefinitionError, match="whether more of it is better"):
        optimizer.observe(trial, 0.5)
