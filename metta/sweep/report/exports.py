"""Exports: what is recorded of a sweep or an experiment, in a file or a stream."""

from pathlib import Path
from typing import BinaryIO

from metta.sweep.contracts.errors import DefinitionError, SweepNotFound
from metta.sweep.contracts.models import Wire
from metta.sweep.report.columns import Rows
from metta.sweep.report.formats import FORMATS
from metta.sweep.report.reports import report_rows
from metta.sweep.report.saving import saving
from metta.sweep.report.stages import stage_rows
from metta.sweep.report.trials import trial_rows
from metta.sweep.stores.base import Store
from metta.sweep.stores.trials import TrialTable


class Exported(Wire):
    """What was written.

    Args:
        name: Name of the sweep or experiment.
        what: What each row is: a trial, a report or a stage.
        rows: How many there are.
        format: In which format.
        path: The file.
    """

    name: str
    what: str
    rows: int
    format: str
    path: str


class Export:
    """What is recorded of a sweep or an experiment by now; no server is needed.

    Args:
        store: Where it is recorded.
        name: Its name.
        reports: Whether rows are reports, instead of trials.

    Raises:
        DefinitionError: When an experiment is asked for reports, which it has none of.
        SweepNotFound: When nothing is recorded under that name.
        StoreError: When what is recorded cannot be read.
    """

    def __init__(self, store: Store, name: str, reports: bool = False) -> None:
        self.name = name
        self.rows, self.what = _rows_of(store, name, reports)

    def write(self, format: str, sink: BinaryIO) -> int:
        """Write it in one of ``FORMATS``.

        Returns:
            The number of rows.

        Raises:
            DefinitionError: When a library is missing.
            StoreError: When what is recorded cannot be read.
        """
        return FORMATS[format](self.rows, sink)

    def save(self, format: str, path: Path, replace: bool = False) -> Exported:
        """Write it to a file, of which there is all or nothing.

        Args:
            format: One of ``FORMATS``.
            path: The file.
            replace: Whether it may replace another file.

        Raises:
            DefinitionError: When a library is missing, or the file must not be written.
            StoreError: When what is recorded cannot be read.
            SweepError: When the file cannot be written.
        """
        with saving(path, replace) as sink:
            count = self.write(format, sink)
        return Exported(name=self.name, what=self.what, rows=count, format=format, path=str(path))


def _rows_of(store: Store, name: str, reports: bool) -> tuple[Rows, str]:
    ledger, log = store.ledger(name), store.outcome_log(name)
    if ledger.exists() and reports:
        return report_rows(ledger), "report"
    if ledger.exists():
        return trial_rows(TrialTable(ledger.read())), "trial"
    if not log.exists():
        raise SweepNotFound(name, [*store.names(), *store.experiment_names()], "sweep or experiment")
    if reports:
        problem = "it is an experiment, whose rows are its stages; trials of its sweeps report: name one"
        raise DefinitionError([problem], name)
    return stage_rows(log), "stage"
