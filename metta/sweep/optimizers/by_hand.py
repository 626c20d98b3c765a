"""By hand: what an optimizer is told before a search takes it is noted, so that it can be told again."""

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any

from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.trials import Observation

Observe = Callable[..., None]

NOTES = "_observed_by_hand"
"""Attribute with the observations by trial number; None while nothing is to be noted."""


def noting(observe: Observe) -> Observe:
    """A method ``observe`` that also notes what it is told, until ``ended`` says that this is over."""

    @wraps(observe)
    def noted(self: Any, *args: Any, **kwargs: Any) -> None:
        # an optimizer need not call our constructor, and may be a frozen dataclass
        attributes = vars(self)
        notes = attributes.get(NOTES, {})
        attributes[NOTES] = None  # what it calls meanwhile, such as that of its base, tells the same again
        try:
            observe(self, *args, **kwargs)
        finally:
            attributes[NOTES] = notes
        if notes is not None:  # its arguments may have names of their own
            _, trial, result, *_ = signature(observe).bind(self, *args, **kwargs).args
            _note(notes, Observation(trial, result), type(self).__name__)

    return noted


def _note(notes: dict[int, Observation], observation: Observation, optimizer: str) -> None:
    trial = observation.trial
    before = notes.get(trial.number)
    if before and before.trial.params != trial.params:
        problem = (
            f"trial {trial.number} was observed before, with other parameters; give each trial a number of"
            " its own, below 0 for those of earlier sweeps: Trial(params, -1)"
        )
        raise DefinitionError([problem], optimizer)
    notes[trial.number] = observation


def noted_by(optimizer: object) -> list[Observation]:
    """What an optimizer was told by hand, in the order of the trials."""
    notes = vars(optimizer).get(NOTES) or {}
    return [notes[number] for number in sorted(notes)]


def ended(optimizer: object) -> None:
    """Note nothing from now on: what a search tells stands in its ledger."""
    vars(optimizer)[NOTES] = None
