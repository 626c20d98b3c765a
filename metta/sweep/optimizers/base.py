"""What every optimizer is: something that suggests trials and observes what became of them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from random import Random
from typing import ClassVar

from metta.sweep.contracts.components import Configured
from metta.sweep.contracts.distributions import Distribution
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.metrics import Objective
from metta.sweep.contracts.seeds import derived_seed
from metta.sweep.contracts.spaces import SearchSpace
from metta.sweep.contracts.trials import Result, Trial
from metta.sweep.optimizers.registry import OPTIMIZERS


class Optimizer(Configured, ABC):
    """Decides what to try next. Pure: no input or output, no clock, no global random state.

    A search calls it like this; used by hand, ``setup`` is not needed::

        optimizer.setup(space, objectives, seed=7)
        [trial] = optimizer.suggest(1)
        optimizer.observe(trial, {"accuracy": 0.93})    # in the order of the ledger
        optimizer.observe(other, Failure(kind="oom", message="..."))
        optimizer.suggest(2)                            # may return fewer: then it is exhausted

    After a crash a new object is brought to the same state. One that is ``stateless`` is told every
    observation; any other one has every ``suggest`` and ``observe`` repeated in the recorded order.
    So all randomness has to come from ``rng``.

    Args:
        search_space: Where to search; optional when the experiment has one.
        seed: Seed of its randomness; a search sets it.
    """

    registry: ClassVar[Mapping[str, str]] = OPTIMIZERS
    stateless: ClassVar[bool] = False
    """Whether observations alone, in their order, rebuild it."""
    result_blind: ClassVar[bool] = False
    """Whether its suggestions ignore results, so that it can be asked ahead."""

    search_space: SearchSpace | None = None
    objectives: tuple[Objective, ...] = ()
    seed: int | str = 0
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
        self.seed = seed or 0

    def setup(self, space: SearchSpace, objectives: tuple[Objective, ...], seed: int | str) -> None:
        """Say what is searched, and for what; called once, before all else.

        Args:
            space: Where to search.
            objectives: Metrics and directions; empty while they are still unknown.
            seed: Seed of the sweep.
        """
        self.search_space, self.objectives, self.seed = space, objectives, seed

    @abstractmethod
    def suggest(self, n: int) -> list[Trial]:
        """Suggest up to ``n`` trials; fewer when nothing is left to try."""

    @abstractmethod
    def observe(self, trial: Trial, result: Result) -> None:
        """Learn what became of a trial: its value, its metrics or its failure."""

    def remember(self, trial: Trial) -> None:
        """Learn, while being rebuilt without ``suggest``, that a trial was suggested earlier."""

    @property
    def space(self) -> SearchSpace:
        """Where to search.

        Raises:
            DefinitionError: When nobody said.
        """
        if self.search_space is None:
            raise DefinitionError(["search_space is missing; pass one"], type(self).__name__)
        return self.search_space

    def rng(self, number: int, purpose: str = "suggest") -> Random:
        """Randomness for one trial and one purpose, the same in every process."""
        return Random(derived_seed(self.seed, number, purpose))
