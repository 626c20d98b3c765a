"""What every pool is: slots in which attempts of trials run."""

from abc import ABC, abstractmethod

from metta.sweep.contracts.attempts import Attempt, AttemptKey
from metta.sweep.contracts.events import TrialEvent


class Pool(ABC):
    """Runs attempts, and tells what became of them.

    One thread drives it; ``wake`` alone may be called from others::

        pool.start(attempt)
        pool.wait(None)      # [Reported(trial=0, seq=0, step=1, ...)]; the trial waits in report()
        pool.answer(key)     # recorded: it goes on
        pool.wait(None)      # [Completed(trial=0, ...)]

    An attempt has exactly one event that ends it, unless the pool is closed before.
    """

    waiting_for: str = ""
    """What keeps it from starting attempts, for people; empty when nothing does."""

    @abstractmethod
    def free(self) -> int:
        """How many attempts could be started now."""

    def ahead(self) -> int:
        """How many more attempts would lie ready behind running ones; 0 where that would gain nothing."""
        return 0

    @abstractmethod
    def start(self, attempt: Attempt) -> None:
        """Run an attempt; ``free()`` or ``ahead()`` was above 0, and nothing was waited for since."""

    def take_back(self, every: bool = False) -> list[Attempt]:
        """Attempts that were handed over and have not begun, for somebody else to start them again.

        Args:
            every: All of them, and not only those that would have to wait for longer than was expected.
        """
        return []

    @abstractmethod
    def answer(self, key: AttemptKey) -> None:
        """Let an attempt go on whose report is recorded; does nothing for one that is over."""

    @abstractmethod
    def stop(self, key: AttemptKey) -> None:
        """End an attempt at its report, or by force after a grace time; at once when it has not begun."""

    @abstractmethod
    def wait(self, timeout_s: float | None) -> list[TrialEvent]:
        """Wait for something to happen, for ``wake`` or the timeout; return all that happened.

        Raises:
            DefinitionError: When the objective cannot be loaded.
        """

    def forgive(self, seconds: float) -> None:  # noqa: B027 # most have no limits
        """Take so much time off those attempts of which nobody could hear."""

    @abstractmethod
    def wake(self) -> None:
        """Let ``wait`` return now."""

    @abstractmethod
    def close(self) -> None:
        """End everything at once, and tell nothing of it."""
