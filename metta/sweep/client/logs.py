"""Logs: what trials and stages have printed."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

from metta.sweep.client.experiment_handle import ExperimentHandle
from metta.sweep.client.handle import SweepHandle
from metta.sweep.client.results import missing_in
from metta.sweep.client.stages import Stages
from metta.sweep.contracts.attempts import LOG, LOGS, AttemptKey
from metta.sweep.contracts.errors import nearest
from metta.sweep.stores.base import Store
from metta.sweep.stores.ledgers import told
from metta.sweep.stores.trials import TrialTable

BLOCK = 1 << 20
"""So many bytes of a log are read at once."""


class Printed(ABC):
    """What is printed under one name, read on with each call."""

    @abstractmethod
    def missing(self) -> str:
        """Why there is nothing yet to be read; empty when there is something.

        Raises:
            StoreError: When it cannot be read.
        """

    @abstractmethod
    def more(self) -> Iterator[tuple[str, bytes]]:
        """What was printed since the last call: of which attempt, and the bytes.

        Raises:
            StoreError: When it cannot be read.
        """

    @property
    @abstractmethod
    def is_over(self) -> bool:
        """Whether nothing more can come, as of the last call."""


class TrialLog(Printed):
    """What all attempts of a trial print, one after the other.

    Args:
        handle: The sweep.
        store: Where it is recorded.
        trial: Number of the trial.
    """

    def __init__(self, handle: SweepHandle, store: Store, trial: int) -> None:
        self._ledger, self._last = handle.ledger, -1
        self._workplace = store.workplace(handle.sweep_id)
        self._table, self._trial = TrialTable(), trial
        self._attempts: list[AttemptKey] = []
        self._read = 0  # bytes of the first of them

    def missing(self) -> str:
        """See ``Printed.missing``."""
        self._read_on()
        return "" if self._has_begun else missing_in(self._table, self._trial)

    def more(self) -> Iterator[tuple[str, bytes]]:
        """See ``Printed.more``."""
        self._read_on()
        while True:
            attempt = self._attempts[0]
            data = self._workplace.part(f"{attempt}/{LOG}", self._read, self._read + BLOCK)
            self._read += len(data)
            if data:
                yield f"trial {attempt.trial}, segment {attempt.segment}, attempt {attempt.attempt}", data
                continue
            if len(self._attempts) == 1:
                return
            del self._attempts[0]
            self._read = 0

    @property
    def is_over(self) -> bool:
        """Whether the trial has ended, or the sweep."""
        if self._table.finish is not None:
            return True
        return self._has_begun and self._table.records[self._trial].status not in ("running", "paused")

    @property
    def _has_begun(self) -> bool:
        return self._trial < len(self._table.records)

    def _read_on(self) -> None:
        for chunk in self._ledger.read(self._last):
            self._table.apply_chunk(chunk)
            self._last = chunk.n
            if self._has_begun:
                key = self._table.records[self._trial].key
                self._attempts += [key] if key not in self._attempts[-1:] else []


class StageLog(Printed):
    """What a stage of an experiment prints, in all its turns and attempts.

    Args:
        handle: The experiment.
        store: Where it is recorded.
        stage: Path of the stage, without turns.
    """

    def __init__(self, handle: ExperimentHandle, store: Store, stage: str) -> None:
        self._stages = Stages(handle.log)
        self._folder = store.experiment_folder(handle.name) / LOGS
        self._path, self._stage, self._read = self._folder / f"{stage}.txt", stage, 0

    def missing(self) -> str:
        """See ``Printed.missing``."""
        self._stages.update()
        if self._path.is_file():
            return ""
        names = printing_stages(self._folder)
        known = f"{nearest(self._stage, names)}; stages that did: {', '.join(names) or 'none'}"
        return f"no stage {self._stage!r} has printed anything on this machine{known}"

    def more(self) -> Iterator[tuple[str, bytes]]:
        """See ``Printed.more``."""
        self._stages.update()
        with told(self._path, "read"), self._path.open("rb") as file:
            file.seek(self._read)
            while data := file.read(BLOCK):
                self._read += len(data)
                yield f"stage {self._stage}", data

    @property
    def is_over(self) -> bool:
        """Whether the experiment has ended."""
        return self._stages.finished is not None


def printing_stages(folder: Path) -> list[str]:
    """Paths of the stages that have printed something, by the folder of their logs."""
    files = (file for file in folder.rglob("*.txt") if not file.name.startswith("@"))  # the engine's
    return sorted(file.relative_to(folder).with_suffix("").as_posix() for file in files)
