"""A study of Optuna's whose trials have the numbers of ours."""

from collections.abc import Mapping
from typing import NamedTuple

import optuna
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import TrialState
from pydantic import JsonValue

from metta.sweep.contracts.distributions import Constant
from metta.sweep.contracts.failures import Failure
from metta.sweep.contracts.spaces import SearchSpace
from metta.sweep.optimizers.optuna_parameters import parameter_of


class Told(NamedTuple):
    """What is known of a trial.

    Args:
        params: Its active parameters.
        loss: The number to be minimized, or its failure; None while it runs.
        ended_at: The step at which it was paused or stopped, or None.
    """

    params: Mapping[str, JsonValue]
    loss: float | Failure | None = None
    ended_at: int | None = None


class OptunaStudy:
    """Trials in the order of their numbers, running until something is told of them.

    Args:
        space: What is searched.
        constrained: Whether the samplers that will be asked know of constraints; an infeasible trial has
            failed otherwise.
    """

    def __init__(self, space: SearchSpace, constrained: bool) -> None:
        self._space = space
        self._constrained = constrained
        self._parameters = {
            name: parameter_of(name, d) for name, d in space.items() if not isinstance(d, Constant)
        }
        self._idle = RandomSampler(seed=0)
        self._study = optuna.create_study(sampler=self._idle)
        self._running: dict[int, optuna.Trial] = {}

    def ask(self, number: int, sampler: BaseSampler) -> dict[str, JsonValue]:
        """Ask a sampler for the parameters of a trial, which is running from now on."""
        self._study.sampler = sampler
        trial = self._study.ask()
        params = self._drawn(trial)
        if self._space.is_conditional:
            # TPE may have drawn inactive parameters too, of which a rebuilt study would not know
            self._study.tell(trial, state=TrialState.FAIL)
            self.add(number, params)
        else:
            self._running[number] = trial
        return params

    def add(self, number: int, params: Mapping[str, JsonValue]) -> None:
        """Add a trial that runs with these parameters."""
        self._study.sampler = self._idle
        known = {name: p.inner(params[name]) for name, p in self._parameters.items() if name in params}
        self._study.enqueue_trial(known)
        trial = self._study.ask()
        self._drawn(trial)
        self._running[number] = trial

    def tell(self, number: int, told: Told) -> None:
        """Tell what became of a running trial."""
        trial = self._running.pop(number)
        match told:
            case Told(loss=Failure(kind="infeasible")) if self._constrained:
                trial.set_constraint("feasible", 1.0)
                self._study.tell(trial, 0.0)
            case Told(loss=float(loss), ended_at=int(step)):
                trial.report(loss, step)
                self._study.tell(trial, state=TrialState.PRUNED)
            case Told(loss=float(loss)):
                self._study.tell(trial, loss)
            case _:
                self._study.tell(trial, state=TrialState.FAIL)

    def _drawn(self, trial: optuna.Trial) -> dict[str, JsonValue]:
        def value(name: str) -> JsonValue:
            p = self._parameters.get(name)
            return p.outer(p.suggest(trial)) if p else self._space[name].from_unit(0.0)

        return self._space.draw(value)
