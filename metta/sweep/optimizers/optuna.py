"""Optuna's samplers, first of all the tree-structured Parzen estimator.

References:
    Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011.
    Watanabe, "Tree-Structured Parzen Estimator: Understanding Its Algorithm Components and Their Roles for
    Better Empirical Performance", 2023 (arXiv 2304.11127).

Optuna holds all trials in an in-memory study, in the order of their numbers, and TPE gets a seed of its own
for each suggestion: so what it suggests depends on nothing but the seed, the trials and their results, and a
study rebuilt from these goes on as if nothing had happened. A sampler object may keep state between
suggestions; a search then repeats all of them.

Pending trials are in the study as running: TPE's constant liar keeps away from them. Trials that are paused
or were stopped are told as pruned at their last step, failed ones as failed, infeasible ones as complete
with a violated constraint (as failed, when the sampler knows no constraints).
"""

import inspect
import warnings
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, cast

import cloudpickle
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, NSGAIIISampler, NSGAIISampler, TPESampler

from metta.sweep.contracts.components import Refer, load
from metta.sweep.contracts.consent import check_value
from metta.sweep.contracts.distributions import Distribution
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.models import unknown_name
from metta.sweep.contracts.seeds import derived_seed
from metta.sweep.contracts.spaces import SearchSpace
from metta.sweep.contracts.trials import Result, Trial
from metta.sweep.optimizers.base import Optimizer
from metta.sweep.optimizers.losses import loss_of
from metta.sweep.optimizers.optuna_study import OptunaStudy, Told

Factory: TypeAlias = Callable[[int], BaseSampler]
"""Makes a sampler from a seed."""

CONSTRAINED = (TPESampler, GPSampler, NSGAIISampler, NSGAIIISampler)
"""Samplers that know what an infeasible trial is."""

optuna.logging.set_verbosity(optuna.logging.WARNING)  # a line a trial is our business


class OptunaOptimizer(Optimizer):
    """Suggests what Optuna's samplers suggest.

    >>> from metta.sweep.contracts.distributions import Uniform
    >>> optimizer = OptunaOptimizer({"x": Uniform(0, 1)}, n_startup_trials=5)
    >>> [trial] = optimizer.suggest(1)
    >>> optimizer.observe(trial, {"loss": trial.params["x"] ** 2})

    Args:
        search_space: Where to search; optional when the experiment has one.
        sampler: ``"TPE"``; or a function that makes a sampler of Optuna from a seed, called for each
            suggestion (or a reference to it, ``"package.module:function"``); or a seeded sampler object,
            which keeps its state.
        seed: Seed of its randomness; None takes the sweep's.
        **options: Arguments of TPE, such as ``n_startup_trials=20``.

    Raises:
        DefinitionError: When the sampler is unknown, or does not take these options.
    """

    def __init__(
        self,
        search_space: SearchSpace | Mapping[str, Distribution] | None = None,
        *,
        sampler: str | Factory | BaseSampler | dict[str, str] = "TPE",
        seed: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(search_space, seed=seed)
        if problems := _problems(sampler, options):
            raise DefinitionError(problems, type(self).__name__)
        self._sampler: Any = _loaded(sampler)
        self._pickled = _pickled(sampler)
        self.stateless = not isinstance(self._sampler, BaseSampler)
        self._tpe_options = options
        self._reusable: TPE | None = None
        self._trials: dict[int, Told] = {}
        self._study: OptunaStudy | None = None

    def suggest(self, n: int) -> list[Trial]:
        """Suggest ``n`` trials; each sees the ones before it as running."""
        return [self._suggested() for _ in range(n)]

    def observe(self, trial: Trial, result: Result) -> None:
        """Learn what became of a trial."""
        before = self._trials.get(trial.number)
        told = Told(trial.params, loss_of(result, self.objectives, type(self).__name__), trial.ended_at)
        self._trials[trial.number] = told
        if before is None or before.loss is not None:
            self._study = None  # Optuna takes nothing back, and knows nobody it was not told of: begin anew
        elif self._study:
            self._study.tell(trial.number, told)

    def remember(self, trial: Trial) -> None:
        """Learn of a trial under way that this object did not suggest."""
        self._trials[trial.number] = Told(trial.params)
        if self._study:
            self._study.add(trial.number, trial.params)

    def _options(self, refer: Refer | None) -> dict[str, Any]:
        options = super()._options(refer)
        if self._pickled:
            options["sampler"] = self._pickled
        return options

    def _suggested(self) -> Trial:
        number, self.next_number = self.next_number, self.next_number + 1
        study = self._known()
        params = study.ask(number, self._sampler_for(number))
        self._trials[number] = Told(params)
        return Trial(params, number)

    def _known(self) -> OptunaStudy:
        """A study that knows all trials."""
        if self._study is None:
            self._study = OptunaStudy(self.space, constrained=isinstance(self._sampler_for(0), CONSTRAINED))
            self._reusable = None  # what it keeps belongs to the study before
            for number, told in sorted(self._trials.items()):
                self._study.add(number, told.params)
                if told.loss is not None:
                    self._study.tell(number, told)
        return self._study

    def _sampler_for(self, number: int) -> BaseSampler:
        if isinstance(self._sampler, BaseSampler):
            return self._sampler
        seed = derived_seed(self.seed or 0, number, "suggest")
        if callable(self._sampler):
            return cast("Factory", self._sampler)(seed)
        if self.space.is_conditional:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                return TPE(seed=seed, group=True, **self._tpe_options)
        if self._reusable is None:
            self._reusable = TPE(**self._tpe_options)
        self._reusable.reseed(seed)
        return self._reusable


class TPE(TPESampler):
    """TPE that can be given another seed: a new one would go through all trials to learn the space again."""

    def reseed(self, seed: int) -> None:
        """Be as if it had been made with this seed."""
        self._rng.rng.seed(seed)
        self._random_sampler._rng.rng.seed(seed)


def _loaded(sampler: Any) -> Any:
    """A sampler, or what makes one, as it came from another process."""
    match sampler:
        case {"pickle": str(pickled)}:
            check_value("the sampler")
            return cloudpickle.loads(b64decode(pickled))
        case str() if sampler != "TPE":
            return load(sampler)
    return sampler


def _pickled(sampler: Any) -> dict[str, str] | None:
    """A sampler object as it was given: suggesting changes it. None for anything else."""
    if isinstance(sampler, BaseSampler):
        return {"pickle": b64encode(cloudpickle.dumps(sampler)).decode()}
    return sampler if isinstance(sampler, dict) else None


def _problems(sampler: object, options: Mapping[str, object]) -> list[str]:
    if sampler == "TPE":
        own = ("self", "seed", "group")
        known = [name for name in inspect.signature(TPESampler.__init__).parameters if name not in own]
        return [problem for name in options if (problem := unknown_name(name, known))]
    is_reference = isinstance(sampler, str) and ":" in sampler
    if not (isinstance(sampler, BaseSampler | dict) or callable(sampler) or is_reference):
        hint = "a function of a seed that makes a sampler of Optuna, or such a sampler"
        return [f'sampler has to be "TPE", {hint}, got {sampler!r}']
    return [f"{name} is an argument of TPE; give it to the sampler itself" for name in options]
