"""What every executor is: a description of where trials run, and, where they are jobs, how to run one."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Generic, TypeVar

from pydantic import BaseModel

from metta.sweep.contracts.components import Configured
from metta.sweep.contracts.jobs import JobSpec, JobState
from metta.sweep.executors.registry import EXECUTORS

RequestT = TypeVar("RequestT", bound=BaseModel)


class Executor(Configured, ABC):
    """Says where trials run, and how many at the same time.

    ``metta.sweep.testing.attempt_conformance`` tests what all of them promise to those who run trials.

    Args:
        max_parallel: Trials that may run at the same time.
    """

    registry: ClassVar[Mapping[str, str]] = EXECUTORS
    max_parallel: int = 1


class JobExecutor(Executor, Generic[RequestT]):
    """An executor of jobs: two pure functions, and three effects.

    The effects may block; they are called in threads, for one job by several of them at the same time, and
    again after whoever called them was killed. So each is idempotent by the request's name.
    ``metta.sweep.testing.executor_conformance`` tests all that is promised here.
    """

    @abstractmethod
    def build_request(self, spec: JobSpec) -> RequestT:
        """What is asked of the system that runs the job, as plain data; equal for equal arguments."""

    def describe(self, request: RequestT) -> str:
        """A request for people: what ``--dry-run`` prints."""
        described: str = request.model_dump_json(indent=2, exclude_defaults=True)
        return described

    @abstractmethod
    def submit(self, request: RequestT) -> None:
        """Let the job begin, unless it has before.

        Raises:
            DefinitionError: When it can never begin.
            OSError: When it cannot begin for now.
        """

    @abstractmethod
    def observe(self, request: RequestT) -> JobState:
        """What becomes of the job.

        Raises:
            OSError: When that cannot be told for now; it says nothing of the job.
        """

    @abstractmethod
    def stop(self, request: RequestT) -> None:
        """Let the job end: it is asked to, and killed when its grace is over. Returns at once.

        What has ended, or was never submitted, stays as it is; the latter never begins any more.

        Raises:
            OSError: When it cannot be asked for now.
        """

    def collect(self, request: RequestT) -> str:
        """The end of what the job printed, 4 KiB at most; empty when there is nothing."""
        return ""
