"""Bayesian optimization: a Gaussian process says where a trial may be better than all before.

References:
    Jones et al., "Efficient Global Optimization of Expensive Black-Box Functions", 1998: improvement.
    Srinivas et al., "Gaussian Process Optimization in the Bandit Setting", ICML 2010: confidence bounds.
    Ginsbourger et al., "Kriging Is Well-Suited to Parallelize Optimization", 2010: believing in trials.

The first trials are points of a scrambled Sobol sequence. From then on a Gaussian process is fitted to all
results for each suggestion, and what promises most is searched for: first anywhere and near the best trials,
then in ever smaller steps around what was best. All of it depends on nothing but the seed, the number of the
trial, the results, and the trials under way.

Trials under way count as if they had given what is expected of them. Failed and infeasible ones count as the
worst of all others; those that were stopped or paused as what they last reported.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from random import Random
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import JsonValue

from metta.sweep.contracts.components import count_problems
from metta.sweep.contracts.distributions import Distribution, is_number
from metta.sweep.contracts.errors import DefinitionError, nearest
from metta.sweep.contracts.failures import UNTELLING, Failure
from metta.sweep.contracts.seeds import derived_seed
from metta.sweep.contracts.spaces import SearchSpace
from metta.sweep.contracts.trials import Result, Trial
from metta.sweep.optimizers.base import Optimizer
from metta.sweep.optimizers.encoding import Encoding, Point, Region
from metta.sweep.optimizers.losses import loss_of

if TYPE_CHECKING:
    from metta.sweep.optimizers.gaussian_process import Surrogate

ACQUISITIONS = ("EI", "UCB")

MOST = 250
"""So many trials are modelled: the best, the newest and those under way; time grows with their cube."""

ANYWHERE = 256
"""So many points are looked at everywhere."""

BEST = 5
"""So many of the best points are gone on with."""

AROUND = 24
"""So many points are looked at around each of them, with each of these deviations."""

REDRAWS = 20
"""So often an initial point is drawn again that was tried already."""

SIGMAS = (0.2, 0.05, 0.015, 0.004)

Score = Callable[[Sequence[Sequence[float]]], Any]
"""How much points promise, by their features."""


class Expected(NamedTuple):
    """What a model expects.

    Args:
        params: Parameters of a trial that need not have been tried.
        mean: Its expected metric.
        deviation: Standard deviation of that.
    """

    params: dict[str, JsonValue]
    mean: float
    deviation: float


class _Told(NamedTuple):
    params: Mapping[str, JsonValue]
    loss: float | Failure | None = None


class BayesianOptimizer(Optimizer):
    """Suggests what a Gaussian process expects most of; needs scikit-learn.

    For some hundred trials that take longer than a second each: a suggestion takes some tenths of one.

    >>> from metta.sweep.contracts.distributions import Uniform
    >>> optimizer = BayesianOptimizer({"x": Uniform(0, 1)}, acquisition="UCB", seed=7)
    >>> [trial] = optimizer.suggest(1)
    >>> optimizer.observe(trial, {"loss": trial.params["x"] ** 2})

    Args:
        search_space: Where to search; optional when the experiment has one.
        acquisition: ``"EI"``, the expected improvement, or ``"UCB"``, the upper confidence bound.
        beta: So many standard deviations UCB adds to the mean: more of them explore more.
        initial_trials: So many trials are known or under way before the model is asked; None takes twice as
            many as there are parameters, 4 at least and 20 at most.
        around: Search only around these parameters, each of whose choices stays as it is.
        radius: How far from there, as a share of each parameter's probability.
        seed: Seed of its randomness; None takes the sweep's.

    Raises:
        DefinitionError: With every wrong argument, and when scikit-learn is missing.
    """

    stateless = True

    def __init__(
        self,
        search_space: SearchSpace | Mapping[str, Distribution] | None = None,
        *,
        acquisition: Literal["EI", "UCB"] = "EI",
        beta: float = 2.0,
        initial_trials: int | None = None,
        around: Mapping[str, JsonValue] | None = None,
        radius: float = 0.1,
        seed: int | None = None,
    ) -> None:
        super().__init__(search_space, seed=seed)
        problems = [*_problems(acquisition, beta, radius), *count_problems(initial_trials=initial_trials)]
        if problems:
            raise DefinitionError(problems, type(self).__name__)
        self._acquisition, self._beta, self._initial = acquisition.upper(), beta, initial_trials
        self._around, self._radius = around, radius
        self._trials: dict[int, _Told] = {}
        self._fitted: Surrogate | None = None

    def suggest(self, n: int) -> list[Trial]:
        """Suggest ``n`` trials; each sees the ones before it as under way."""
        return [self._suggested() for _ in range(n)]

    def observe(self, trial: Trial, result: Result) -> None:
        """Learn what became of a trial."""
        loss = loss_of(result, self.objectives, type(self).__name__)
        self._fitted = None
        if isinstance(loss, Failure) and loss.kind in UNTELLING:
            self._trials.pop(trial.number, None)
        else:
            self._trials[trial.number] = _Told(dict(trial.params), loss)

    def remember(self, trial: Trial) -> None:
        """Learn of a trial under way that this object did not suggest."""
        self._add(trial.number, trial.params)

    def expected(self) -> Expected:
        """Where the best mean is expected, by all results; in the metric's own direction.

        Raises:
            DefinitionError: When no result is known.
        """
        if not self._losses:
            problem = "no trial with a result was observed, so nothing is expected"
            raise DefinitionError([problem], type(self).__name__)
        model = self._model()
        params = self._most(lambda rows: -model.predict(rows).mean, self.rng(0, "expected"), anew=False)
        mean, deviation = model.predict([Encoding(self.space).row(params)])
        goal = self.objectives[0].goal if self.objectives else "minimize"
        return Expected(params, float(mean[0]) * (-1 if goal == "maximize" else 1), float(deviation[0]))

    def _suggested(self) -> Trial:
        number, self.next_number = self.next_number, self.next_number + 1
        initial = self._initial or min(max(2 * len(self.space), 4), 20)
        if len(self._trials) < initial or not self._losses:
            params = self._initial_point(number)
        else:
            params = self._promising(number)
        self._add(number, params)
        return Trial(params, number)

    def _add(self, number: int, params: Mapping[str, JsonValue]) -> None:
        before = self._trials.get(number)
        if before and before.loss is not None:
            self._fitted = None
        self._trials[number] = _Told(dict(params))

    @property
    def _losses(self) -> dict[int, float]:
        """Losses by the number of their trial, in the order of the numbers."""
        found = sorted(self._trials.items())
        return {
            n: told.loss for n, told in found if told.loss is not None and not isinstance(told.loss, Failure)
        }

    @property
    def _region(self) -> Region:
        if self._around is None:
            return Region(self.space)
        self.space.validate(self._around)
        return Region(self.space, Encoding(self.space).point(self._around), self._radius)

    def _initial_point(self, number: int) -> dict[str, JsonValue]:
        from scipy.stats.qmc import Sobol  # type: ignore[import-untyped]  # half a second, when it is needed

        names, seed = list(self.space), derived_seed(0 if self.seed is None else self.seed, 0, "sobol")
        sobol = Sobol(len(names), rng=seed)
        if number:
            sobol.fast_forward(number)
        shares = dict(zip(names, map(float, sobol.random(1)[0]), strict=True))
        region, rng = self._region, self.rng(number)
        params = self.space.from_unit(region.within(shares))
        tried = [told.params for told in self._trials.values()]
        for _ in range(REDRAWS):
            if params not in tried:
                break
            params = self.space.from_unit(region.drawn(rng))
        return params

    def _promising(self, number: int) -> dict[str, JsonValue]:
        model = self._model()
        if self._acquisition == "UCB":
            return self._most(lambda rows: model.confidence(rows, self._beta), self.rng(number))
        return self._most(model.log_improvement, self.rng(number))

    def _model(self) -> "Surrogate":
        """A process that knows all results, and believes in those of trials under way."""
        from metta.sweep.optimizers.gaussian_process import Surrogate

        encoding, losses = Encoding(self.space), self._losses
        if self._fitted is None:
            worst = max(losses.values())
            known = {
                n: losses.get(n, worst) for n, told in sorted(self._trials.items()) if told.loss is not None
            }
            chosen = _chosen(known)
            rows = [encoding.row(self._trials[n].params) for n in chosen]
            self._fitted = Surrogate(rows, [known[n] for n in chosen])
        waiting = [told.params for _, told in sorted(self._trials.items()) if told.loss is None]
        self._fitted.pretend([encoding.row(params) for params in waiting])
        return self._fitted

    def _most(self, score: Score, rng: Random, *, anew: bool = True) -> dict[str, JsonValue]:
        """The parameters with the highest score, as far as they are found.

        Args:
            score: What is to be high.
            rng: Draws the points that are looked at.
            anew: Whether parameters that were tried come last.
        """
        search = _Search(self.space, self._region, score, rng)
        losses = self._losses
        best = sorted(losses, key=lambda number: losses[number])[:BEST]
        search.look([search.region.drawn(rng) for _ in range(ANYWHERE)])
        starts = [search.encoding.point(self._trials[number].params) for number in best]
        search.look([search.region.near(start, SIGMAS[1], rng) for start in starts for _ in range(AROUND)])
        if not anew:
            search.look([start for start in starts if search.region.holds(start)])
        for sigma in SIGMAS:
            search.look([search.region.near(p, sigma, rng) for p in search.best(BEST) for _ in range(AROUND)])
        tried = [told.params for told in self._trials.values()] if anew else []
        return search.winner(tried)


class _Search:
    """Points that were looked at, and their scores."""

    def __init__(self, space: SearchSpace, region: Region, score: Score, rng: Random) -> None:
        self.region, self.encoding = region, Encoding(space)
        self._space, self._score, self._rng = space, score, rng
        self._seen: list[tuple[float, Point]] = []

    def look(self, points: Sequence[Point]) -> None:
        """Score points."""
        rows = [self.encoding.row(self._space.from_unit(point)) for point in points]
        scores = self._score(rows) if rows else []
        self._seen += zip(map(float, scores), points, strict=True)
        self._seen.sort(key=lambda seen: -seen[0])  # stable: the earlier one of equals comes first

    def best(self, n: int) -> list[Point]:
        """The best points so far."""
        return [point for _, point in self._seen[:n]]

    def winner(self, tried: Sequence[Mapping[str, JsonValue]]) -> dict[str, JsonValue]:
        """Parameters of the best point that is new; of the best one when all of them were tried."""
        for _, point in self._seen:
            params = self._space.from_unit(point)
            if params not in tried:
                return params
        return self._space.from_unit(self._seen[0][1])


def _chosen(losses: Mapping[int, float]) -> list[int]:
    """Numbers of the trials that are modelled: all, or the best and the newest."""
    if len(losses) <= MOST:
        return list(losses)
    best = sorted(losses, key=lambda number: losses[number])[: MOST // 2]
    newest = [number for number in losses if number not in {*best}][-(MOST - len(best)) :]
    return sorted([*best, *newest])


def _problems(acquisition: object, beta: object, radius: object) -> list[str]:
    problems = []
    if not isinstance(acquisition, str) or acquisition.upper() not in ACQUISITIONS:
        hint = nearest(str(acquisition).upper(), list(ACQUISITIONS))
        problems.append(f"unknown acquisition {acquisition!r}{hint}")
    if not is_number(beta) or beta < 0:
        problems.append(f"beta has to be a number of at least 0, got {beta!r}")
    if not is_number(radius) or not 0 < radius <= 1:
        problems.append(f"radius has to be above 0 and at most 1, got {radius!r}")
    if find_spec("sklearn") is None:
        problems.append('it needs scikit-learn: pip install "metta-sweep[gp]"')
    return problems
