"""What the command says of trials."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

from rich.text import Text

from metta.sweep.cli.output import Printer
from metta.sweep.cli.shapes import ReportShown, TrialListed, TrialShown
from metta.sweep.client.leaderboards import Column, Columns, cell_text
from metta.sweep.client.live import counts_text
from metta.sweep.client.results import record_in, table_of
from metta.sweep.contracts.errors import DefinitionError, nearest
from metta.sweep.contracts.records import TrialRecord
from metta.sweep.contracts.sweeps import TrialStatus
from metta.sweep.contracts.wording import duration_text, value_text
from metta.sweep.stores.trials import TrialTable

if TYPE_CHECKING:
    from metta.sweep.client.handle import SweepHandle

REPORTS = 10
"""So many of the last reports of a trial are shown; machines get all."""


class TrialOutput(Printer):
    """Prints trials of a sweep."""

    def listed(self, handle: "SweepHandle", statuses: Sequence[str], best: bool, limit: int) -> None:
        """Trials that have one of these states; the last ones, or the best ones.

        Args:
            handle: The sweep.
            statuses: What may have become of them; none means whatever did.
            best: Whether the best ones come first; else the latest ones come last.
            limit: So many at most; 0 means all.

        Raises:
            DefinitionError: When there is no such state.
        """
        _check(statuses)
        table = table_of(handle.ledger)
        records = [table.records[row.trial] for row in table.leaderboard(None)] if best else table.records
        found = [record for record in records if not statuses or table.status_of(record) in statuses]
        shown = found if not limit else found[:limit] if best else found[-limit:]
        if self._json:
            self._print([TrialListed(**_plain(record, table)) for record in shown])
            return
        self._say(counts_text(table, table.elapsed_s))
        if shown:
            self._say(_table_of(shown, table))
        if left := len(found) - len(shown):
            self._say(Text(f"not shown: {left} {'worse' if best else 'earlier'} ones; -n 0 shows all", "dim"))
        number = next((r.number for r in shown if r.status == "failed"), shown[0].number if shown else None)
        wanted = f"show {handle.sweep_id}" if number is None else f"trials {handle.sweep_id} {number}"
        self._next(f"sweep {wanted}", handle.ui)

    def shown(self, handle: "SweepHandle", number: int) -> None:
        """All that is known of one trial.

        Raises:
            DefinitionError: When there is no such trial.
        """
        table, reports = TrialTable(), list[ReportShown]()
        for chunk in handle.ledger.read():
            table.apply_chunk(chunk)
            reports += [
                ReportShown(step=event.step, at=event.at, metrics=event.metrics)
                for event in chunk.events
                if event.type == "reported" and event.trial == number
            ]
        record = record_in(table, number, handle.sweep_id)
        if self._json:
            self._print(TrialShown(**_plain(record, table), reports=tuple(reports)))
            return
        self._told(record, table)
        self._params(record.params)
        if reports:
            self._say("")
            self._say(_table_of_reports(reports[-REPORTS:]))
        if len(reports) > REPORTS:
            self._say(Text(f"not shown: {len(reports) - REPORTS} earlier reports", style="dim"))
        if record.failure:
            self._say(Text(f"\n{record.failure.kind}: {record.failure.message}", style="yellow"))
            self._say(record.failure.traceback.rstrip() or "no traceback is known")
        self._next(f"sweep logs {handle.sweep_id} {number}", handle.ui)

    def _told(self, record: TrialRecord, table: TrialTable) -> None:
        self._say(Text.assemble((f"trial {record.number}", "bold"), f" is {table.status_of(record)}"))
        where = f"segment {record.segment}, attempt {record.attempt}"
        failed = record.failed + record.free
        tried = f"; {failed} attempt{'s' if failed > 1 else ''} failed" if failed else ""
        self._say(f"{where}{tried}; {duration_text(record.seconds)} of work, seed {record.seed}")
        metrics = ", ".join(f"{name} {value_text(value)}" for name, value in record.metrics.items())
        step = f" at step {record.step}" if record.step is not None else ""
        if metrics or step:
            self._say(f"last values{step}: {metrics or '-'}")
        if record.checkpoint:
            self._say(f"checkpoint: {record.checkpoint}")


def _check(statuses: Sequence[str]) -> None:
    known = get_args(TrialStatus)
    if unknown := [status for status in statuses if status not in known]:
        problems = [f"unknown state {name!r}{nearest(name, known)}" for name in unknown]
        raise DefinitionError(problems, "--status")


def _plain(record: TrialRecord, table: TrialTable) -> dict[str, Any]:
    plain = {name: getattr(record, name) for name in TrialListed.model_fields}
    return {**plain, "status": table.status_of(record)}


def _table_of(records: Sequence[TrialRecord], table: TrialTable) -> Columns:
    metric = table.objective.metric if table.objective else "value"
    params = [*(table.spec.search_space if table.spec else ())]
    steps = ["-" if r.step is None else str(r.step) for r in records]
    return Columns(
        [
            Column("trial", [str(r.number) for r in records], right=True),
            Column("status", [table.status_of(r) for r in records]),
            Column(metric, [_value(table.value(r)) for r in records], right=True),
            *([Column("step", steps, right=True)] if any(r.step is not None for r in records) else []),
            Column("attempt", [f"{r.segment}/{r.attempt}" for r in records], right=True),
            Column("time", [duration_text(r.seconds) for r in records], right=True),
            *(Column(name, [_value(r.params.get(name)) for r in records]) for name in params),
            *([Column("failure", [_why(r) for r in records])] if any(r.failure for r in records) else []),
        ]
    )


def _table_of_reports(reports: Sequence[ReportShown]) -> Columns:
    names = dict.fromkeys(name for report in reports for name in report.metrics)
    columns = [Column("step", [str(report.step) for report in reports], right=True)]
    columns += [
        Column(name, [_value(report.metrics.get(name)) for report in reports], right=True) for name in names
    ]
    return Columns(columns)


def _value(value: Any) -> str:
    return "-" if value is None else cell_text(value)


def _why(record: TrialRecord) -> str:
    if record.failure is None:
        return "-"
    first, *_ = record.failure.message.splitlines() or [""]
    return f"{record.failure.kind}: {first}" if first else record.failure.kind
