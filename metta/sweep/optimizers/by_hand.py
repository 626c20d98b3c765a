"""By hand: what an optimizer is asked and told before a search takes it is noted, and can be repeated."""

import json
from collections.abc import Callable, Mapping
from functools import wraps
from inspect import signature
from math import isfinite
from typing import Any, Protocol, TypeVar, cast

from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.failures import Failure
from metta.sweep.contracts.metrics import Objective
from metta.sweep.contracts.models import json_ready
from metta.sweep.contracts.trials import Observation, Resources, Trial

NOTES = "_by_hand"
"""Attribute with the notes; None while nothing is to be noted."""

MethodT = TypeVar("MethodT", bound=Callable[..., Any])

Noting = Callable[["Notes", tuple[Any, ...], Any, Any, int], None]
"""Notes a call: its arguments, what it gave, the optimizer, and the number that came next before it."""


class Noted(Protocol):
    """What can be asked and told again."""

    stateless: bool

    def suggest(self, n: int) -> list[Trial]:
        """See ``Optimizer``."""
        ...

    def observe(self, trial: Trial, result: Any) -> None:
        """See ``Optimizer``."""
        ...

    def remember(self, trial: Trial) -> None:
        """See ``Optimizer``."""
        ...


class Notes:
    """The calls of one optimizer.

    Attributes:
        calls: Each one as JSON, in their order.
        observed: What it was told, by the numbers of the trials.
        problem: What has no form in JSON; empty when all has.
    """

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.observed: dict[int, Observation] = {}
        self.problem = ""

    def add(self, call: dict[str, Any]) -> None:
        """Note a call."""
        try:
            json.dumps(call, allow_nan=False)
        except (TypeError, ValueError) as error:
            name = next(iter(call))
            self.problem = self.problem or f"its call {len(self.calls)}, of {name}, is no plain JSON: {error}"
        self.calls.append(call)

    def observation(self, observation: Observation, optimizer: str) -> None:
        """Note what it was told."""
        trial = observation.trial
        before = self.observed.get(trial.number)
        if before and before.trial.params != trial.params:
            problem = (
                f"trial {trial.number} was observed before, with other parameters; give each trial a number"
                " of its own, below 0 for those of earlier sweeps: Trial(params, -1)"
            )
            raise DefinitionError([problem], optimizer)
        self.observed[trial.number] = observation
        self.add({"observe": form_of_trial(trial), **_form_of_result(observation.result)})


def noting(name: str) -> Callable[[MethodT], MethodT]:
    """Lets a method note its calls, until ``ended`` says that this is over.

    Args:
        name: Which of those in ``NOTING`` it is.
    """

    def wrapped(method: MethodT) -> MethodT:
        return cast("MethodT", _noting(method, NOTING[name]))

    return wrapped


def _noting(method: Callable[..., Any], note: Noting) -> Callable[..., Any]:
    bind = signature(method).bind

    @wraps(method)
    def noted(self: Any, *args: Any, **kwargs: Any) -> Any:
        # an optimizer need not call our constructor, and may be a frozen dataclass
        attributes = vars(self)
        notes: Notes | None = attributes.get(NOTES) if NOTES in attributes else Notes()
        if notes is None:
            return method(self, *args, **kwargs)
        number = self.next_number
        attributes[NOTES] = None  # what it calls meanwhile, such as that of its base, says the same again
        try:
            given = method(self, *args, **kwargs)
        finally:
            attributes[NOTES] = notes
        bound = bind(self, *args, **kwargs)  # its arguments may have names of their own, and defaults
        bound.apply_defaults()
        note(notes, bound.args[1:], given, self, number)
        return given

    return noted


def _suggested(notes: Notes, args: tuple[Any, ...], given: Any, optimizer: Any, number: int) -> None:
    trials = [form_of_trial(trial) for trial in given if isinstance(trial, Trial)]
    counted = {"number": number} if number else {}  # one of the user's need not count by itself
    notes.add({"suggest": json_ready(args[0]), **counted, "trials": trials})


def _observed(notes: Notes, args: tuple[Any, ...], given: Any, optimizer: Any, number: int) -> None:
    notes.observation(Observation(args[0], args[1]), type(optimizer).__name__)


def _remembered(notes: Notes, args: tuple[Any, ...], given: Any, optimizer: Any, number: int) -> None:
    notes.add({"remember": form_of_trial(args[0])})


NOTING: Mapping[str, Noting] = {"suggest": _suggested, "observe": _observed, "remember": _remembered}
"""Methods whose calls are noted."""


def noted_by(optimizer: object) -> list[Observation]:
    """What an optimizer was told by hand, in the order of the trials."""
    notes: Notes | None = vars(optimizer).get(NOTES)
    return [notes.observed[number] for number in sorted(notes.observed)] if notes else []


def aimed(optimizer: Any, objective: Objective) -> None:
    """Say which metric counts, where nobody has said so yet."""
    if not optimizer.objectives:
        object.__setattr__(optimizer, "objectives", (objective,))  # it may be a frozen dataclass
        if notes := vars(optimizer).setdefault(NOTES, Notes()):
            notes.add({"goal": objective.goal, "metric": objective.metric})


def ended(optimizer: object) -> None:
    """Note nothing from now on: what a search tells stands in its ledger."""
    vars(optimizer)[NOTES] = None


def calls_of(optimizer: Noted) -> list[dict[str, Any]]:
    """The calls that bring a new object to the same state, as JSON.

    One that is ``stateless`` needs its observations alone, and to hear of trials that are under way.

    Raises:
        DefinitionError: When they were not noted, or have no form in JSON.
    """
    notes: Notes | None = vars(optimizer).get(NOTES) if NOTES in vars(optimizer) else Notes()
    if notes is None:
        problem = "setup() was called, and what it was asked and told since is noted nowhere"
        raise DefinitionError([problem], type(optimizer).__name__)
    if notes.problem:
        raise DefinitionError([notes.problem], type(optimizer).__name__)
    if not optimizer.stateless:
        return [{name: item for name, item in call.items() if name != "trials"} for call in notes.calls]
    told = [call for call in notes.calls if "observe" in call or "goal" in call]
    over = {call["observe"]["number"] for call in told if "observe" in call}
    known = [call["remember"] for call in notes.calls if "remember" in call]
    begun = [trial for call in notes.calls for trial in call.get("trials", ())]
    under_way = {trial["number"]: trial for trial in (*begun, *known) if trial["number"] not in over}
    return [*told, *({"remember": under_way[number]} for number in sorted(under_way))]


def noted_only(optimizer: object, calls: list[dict[str, Any]]) -> None:
    """Let an optimizer know of calls without repeating them; it can be compared, and not used."""
    notes = vars(optimizer)[NOTES] = Notes()
    notes.calls += calls


def repeat(optimizer: Any, calls: list[dict[str, Any]]) -> None:
    """Repeat calls; errors are those of the optimizer."""
    for call in calls:
        match call:
            case {"suggest": n}:
                object.__setattr__(optimizer, "next_number", call.get("number", 0))
                optimizer.suggest(n)
            case {"observe": trial}:
                optimizer.observe(trial_of_form(trial), _result_of(call))
            case {"remember": trial}:
                optimizer.remember(trial_of_form(trial))
            case {"goal": goal, "metric": metric}:
                aimed(optimizer, Objective(metric, goal))
            case _:
                problem = f"a call is one of {', '.join(NOTING)} and goal, got {json.dumps(call):.80}"
                raise DefinitionError([problem], type(optimizer).__name__)


def form_of_trial(trial: Trial) -> dict[str, Any]:
    """What an optimizer may know of a trial, as JSON."""
    rest = {
        "seed": trial.seed,
        "ended_at": trial.ended_at,
        "resources": trial.resources.model_dump(exclude_defaults=True),
    }
    said = {name: item for name, item in rest.items() if item not in (None, {})}
    return {"number": trial.number, "params": json_ready(trial.params), **said}


def trial_of_form(form: Mapping[str, Any]) -> Trial:
    """The trial again."""
    rest = {name: item for name, item in form.items() if name not in ("params", "number", "resources")}
    resources = Resources(**form["resources"]) if "resources" in form else None
    return Trial(form["params"], form.get("number", 0), resources=resources, **rest)


def _form_of_result(result: Any) -> dict[str, Any]:
    match result:
        case Failure():
            return {"failure": result.model_dump(mode="json")}
        case Mapping():
            return {"metrics": {name: _number(value) for name, value in result.items()}}
    return {"value": _number(result)}


def _result_of(call: Mapping[str, Any]) -> Any:
    match call:
        case {"failure": failure}:
            return Failure.model_validate(failure)
        case {"metrics": metrics}:
            return {name: _numeric(value) for name, value in metrics.items()}
    return _numeric(call["value"])


_NOT_FINITE = ("nan", "inf", "-inf")


def _number(value: Any) -> Any:
    """A number as JSON, which has none for those that are not finite."""
    plain = json_ready(value)
    return str(plain) if isinstance(plain, float) and not isfinite(plain) else plain


def _numeric(value: Any) -> Any:
    return float(value) if value in _NOT_FINITE else value
