"""What every scheduler is: a function from facts to what is to be done next."""

from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeAlias

from pydantic import JsonValue

from metta.sweep.contracts.components import Configured, count_problems
from metta.sweep.contracts.decisions import Resume, Stop
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.events import Event, Reported
from metta.sweep.contracts.metrics import Objective
from metta.sweep.contracts.records import TrialRecord
from metta.sweep.contracts.spaces import SearchSpace
from metta.sweep.contracts.trials import Resources
from metta.sweep.schedulers.registry import SCHEDULERS


@dataclass(frozen=True, slots=True)
class SlotFree:
    """So many trials could run that nobody asked for yet. Never recorded, so never repeated."""

    count: int


@dataclass(frozen=True, slots=True)
class New:
    """Start a new trial.

    Args:
        until_step: Last step of its first segment; None lets it run to its own end.
        last: Whether it is complete at that step, instead of paused.
        params: Its parameters; None asks the optimizer.
        parent: Number of the trial whose work it carries on.
        checkpoint_from: Checkpoint of that trial to begin from.
    """

    until_step: int | None = None
    last: bool = False
    params: Mapping[str, JsonValue] | None = None
    parent: int | None = None
    checkpoint_from: str | None = None


Verdict: TypeAlias = New | Resume | Stop


class View(Protocol):
    """What a scheduler sees of the sweep."""

    @property
    def records(self) -> Sequence[TrialRecord]:
        """All trials, by number."""
        ...

    @property
    def running(self) -> Mapping[int, TrialRecord]:
        """Trials with an attempt under way, by number."""
        ...

    @property
    def objective(self) -> Objective | None:
        """The metric that counts, once it is known."""
        ...

    def value(self, record: TrialRecord) -> float | None:
        """A trial's last value of the metric that counts."""
        ...

    def loss(self, record: TrialRecord) -> float | None:
        """The same, turned round where more is better: the smaller one is better."""
        ...


class Scheduler(Configured, ABC):
    """Decides how long trials run, and what runs next. Pure: data in, verdicts out.

    A search calls ``setup``, then ``decide`` with each recorded event, then with ``SlotFree``::

        decide(SlotFree(2), view)           -> [New(), New()]
        decide(Reported(trial=0, ...), view) -> [Stop(trial=0)]
        decide(Stopped(trial=0, ...), view)  -> []
        decide(SlotFree(1), view)           -> [New()]

    A rule that only ends trials overrides ``should_stop``; one that only sizes them overrides
    ``allocate_resources``; any other one overrides ``decide``. After a crash a new object is told all
    recorded events again, but no ``SlotFree``: state may be kept of events alone, and what was made of
    slots stands in the records. Randomness comes from ``derived_seed(self.seed, number, purpose)``.

    A subclass needs no ``__init__``, and one that has it need not call this one.

    Args:
        max_parallel: Trials that may run at the same time; None leaves it to the executor.
    """

    registry: ClassVar[Mapping[str, str]] = SCHEDULERS
    result_blind: ClassVar[bool] = False
    """Whether it starts new trials whatever came of the others, so that they can be started ahead."""
    needs_reports: ClassVar[bool] = False
    """Whether it decides by what trials report while they run, which experiments do not."""
    max_parallel: int | None = None
    search_space: SearchSpace | None = None
    seed: int | str = 0

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "decide" in vars(cls) and "result_blind" not in vars(cls):  # its base's claim need not hold for it
            cls.result_blind = False

    def __init__(self, max_parallel: int | None = None) -> None:
        if problems := count_problems(max_parallel=max_parallel):
            raise DefinitionError(problems, type(self).__name__)
        self.max_parallel = max_parallel

    def setup(self, space: SearchSpace, seed: int | str) -> None:
        """Say what is searched; called once, before all else.

        Args:
            space: Where to search, for schedulers that make parameters themselves.
            seed: Seed of the sweep.
        """
        self.search_space, self.seed = space, seed

    def decide(self, event: Event | SlotFree, view: View) -> list[Verdict]:
        """What an event calls for.

        Args:
            event: A fact that was just recorded, or ``SlotFree``.
            view: The sweep after that fact.

        Returns:
            Verdicts in the order in which they are to be carried out. More new trials than the
            budget allows are cut, and those that have no slot yet wait for one.
        """
        match event:
            case SlotFree(count):
                return [New()] * count
            case Reported(trial=number) if self.should_stop(view.records[number]):
                return [Stop(trial=number)]
            case _:
                return []

    def should_stop(self, trial: TrialRecord) -> bool:
        """Whether a trial that has just reported is to end here."""
        return False

    def allocate_resources(self, trial: TrialRecord) -> Resources | None:
        """What a trial that is about to start is given; None means what the sweep says."""
        return None

    @property
    def default_trials(self) -> int | None:
        """Trials after which the scheduler itself is at its end, when there is no budget."""
        return None
