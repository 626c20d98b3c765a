"""What every optimizer is: something that suggests trials and observes what became of them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from random import Random
from typing import Any, ClassVar

from metta.sweep.contracts.distributions import Distribution
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.metrics import Objective
from metta.sweep.contracts.seeds import derived_seed
from metta.sweep.contracts.spaces import SearchSpace
from metta.sweep.contracts.trials import Observation, Result, Trial
from metta.sweep.optimizers.by_hand import NOTING, ended, noted_by, noting
from metta.sweep.optimizers.forms import Kept
from metta.sweep.optimizers.registry import OPTIMIZERS
from metta.sweep.optimizers.turns import Turns


class Optimizer(Kept, ABC):
    """Decides what to try next. Pure: no input or output, no clock, no global random state.

    A search calls it like this; used by hand, ``setup`` is not needed::

        optimizer.setup(space, objectives, seed=7)
        [trial] = optimizer.suggest(1)
        optimizer.observe(trial, 0.93)                               # in the order of the ledger
        optimizer.observe(other, Failure(kind="oom", message="..."))
        optimizer.suggest(2)                  # may return fewer: nothing else to try, as far as is known

    What it is told by hand, before a search takes it over, an experiment tells it again as its warm start. A
    field of an experiment may hold it: it is made again from its arguments, and all that it was asked and
    told by hand is repeated.

    After a crash a new object is brought to the same state. One that is ``stateless`` is told every
    observation; any other one has every ``suggest`` and ``observe`` repeated in the recorded order.
    So all randomness has to come from ``rng``.

    A subclass needs no ``__init__``, and one that has it need not call this one.

    Args:
        search_space: Where to search; optional when the experiment has one.
        seed: Seed of its randomness; None takes the sweep's.
    """

    registry: ClassVar[Mapping[str, str]] = OPTIMIZERS
    stateless: bool = False
    """Whether observations alone, in their order, rebuild it."""
    result_blind: ClassVar[bool] = False
    """Whether its suggestions ignore results, so that it can be asked ahead."""
    all_metrics: ClassVar[bool] = False
    """Whether a search tells it all metrics by name, ``cost`` among them, instead of the one that counts."""

    search_space: SearchSpace | None = None
    objectives: tuple[Objective, ...] = ()
    seed: int | str | None = None
    trials: int | None = None
    """Trials that the sweep was begun with, for those that divide them up; None when nobody said."""
    next_number: int = 0
    """Number of the trial that is suggested next; a search keeps it up to date."""

    def __init__(
        self,
        search_space: SearchSpace | Mapping[str, Distribution] | None = None,
        *,
        seed: int | None = None,
    ) -> None:
        if search_space is not None:
            self.search_space = SearchSpace.of(search_space)
        self.seed = seed

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = vars(cls).keys()
        if own & {"suggest", "observe"}:  # what its base says of itself need not hold for it
            for claim in {"stateless", "result_blind"} - own:
                setattr(cls, claim, False)
        for name in NOTING.keys() & own:
            setattr(cls, name, noting(name)(vars(cls)[name]))

    def setup(
        self,
        space: SearchSpace,
        objectives: tuple[Objective, ...],
        seed: int | str,
        trials: int | None = None,
    ) -> None:
        """Say what is searched, and for what; called once, before all else. An override calls this one.

        Args:
            space: Where to search.
            objectives: Metrics and directions; empty while they are still unknown.
            seed: Seed of the sweep; an own one comes first.
            trials: Trials that the sweep is begun with, or None.
        """
        ended(self)
        self.search_space, self.objectives, self.trials = space, objectives, trials
        self.seed = seed if self.seed is None else self.seed

    @abstractmethod
    def suggest(self, n: int) -> list[Trial]:
        """Suggest up to ``n`` trials; fewer when nothing is left to try."""

    @abstractmethod
    def observe(self, trial: Trial, result: Result) -> None:
        """Learn what became of a trial, which need not be one of its own.

        Args:
            trial: The trial; those of earlier sweeps have numbers below 0. When it is observed again, the
                later result takes the place of the former.
            result: Its value, its metrics or its failure.
        """

    @noting("remember")
    def remember(self, trial: Trial) -> None:
        """Learn of a trial under way that this object did not suggest: a scheduler did, or one before it."""

    @property
    def space(self) -> SearchSpace:
        """Where to search.

        Raises:
            DefinitionError: When nobody said.
        """
        if self.search_space is None:
            raise DefinitionError(["search_space is missing; pass one"], type(self).__name__)
        return self.search_space

    @property
    def told_by_hand(self) -> list[Observation]:
        """What it was told by hand, in the order of the trials."""
        return noted_by(self)

    def __turns__(self) -> Turns:
        """Itself as stages of a pipeline."""
        return Turns(self)

    def rng(self, number: int, purpose: str = "suggest") -> Random:
        """Randomness for one trial and one purpose, the same in every process."""
        return Random(derived_seed(0 if self.seed is None else self.seed, number, purpose))
