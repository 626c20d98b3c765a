"""Cards: what a notebook shows of a sweep or an experiment.

A card is HTML that needs nothing else: no script, no font, no address but that of Temporal's UI. It takes
the colours of text and background from the notebook, light or dark. Where styles are stripped, as GitHub
does, it is plain text and tables.
"""

from collections.abc import Callable, Sequence
from time import time

from metta.sweep.client.experiment_handle import ExperimentHandle
from metta.sweep.client.handle import SweepHandle
from metta.sweep.client.live import best_text, counts_text, failures_text
from metta.sweep.client.stages import Stages, stages_of
from metta.sweep.contracts.errors import StoreError
from metta.sweep.contracts.experiments import Row as StageRow
from metta.sweep.contracts.sweeps import Row
from metta.sweep.contracts.wording import duration_text, value_text
from metta.sweep.report.markup import Html, element, joined
from metta.sweep.stores.snapshots import overview_of
from metta.sweep.stores.trials import TrialTable

ROWS = 10
PARAMS = 8
"""So many parameters have a column in the table of the best trials."""

VALUES = 60
"""So many parameters of the best trial are shown."""

CELL = 40
"""Longer values are cut; all of them is shown where the pointer rests."""

SHARES = {
    "completed": "#2e9e6b",
    "stopped": "#4a8fd9",
    "paused": "#9a7bd0",
    "running": "#d99a2b",
    "failed": "#d9534f",
}
"""Colours of what became of trials, legible on white and on black."""

STYLE = """
.metta-sweep{font-size:13px;line-height:1.5;max-width:64em;color:inherit}
.metta-sweep .ms-name{font-weight:600;font-size:15px}
.metta-sweep .ms-state{border:1px solid;border-radius:1em;padding:0 .6em;margin:0 .6em;\
font-size:12px;opacity:.8}
.metta-sweep .ms-dim{opacity:.65}
.metta-sweep a{color:inherit}
.metta-sweep .ms-dot{display:inline-block;width:8px;height:8px;border-radius:50%;margin:0 .4em 0 0}
.metta-sweep .ms-count{margin-right:1.1em}
.metta-sweep .ms-bar{display:flex;height:6px;border-radius:3px;overflow:hidden;margin:.5em 0;\
background:rgba(128,128,128,.22)}
.metta-sweep .ms-best{margin:.5em 0 .2em}
.metta-sweep .ms-value{font-weight:600;font-size:15px}
.metta-sweep .ms-params{display:flex;flex-wrap:wrap;gap:.3em}
.metta-sweep code.ms-param{background:rgba(128,128,128,.14);border-radius:4px;padding:.1em .5em;\
color:inherit;font-size:12px}
.metta-sweep .ms-scroll{overflow-x:auto}
.metta-sweep table.ms-table{border-collapse:collapse;margin:.6em 0;font-size:12px;color:inherit}
.metta-sweep table.ms-table th,.metta-sweep table.ms-table td{padding:.2em .9em .2em 0;text-align:left;\
white-space:nowrap;border:0;border-bottom:1px solid rgba(128,128,128,.25);font-variant-numeric:tabular-nums}
.metta-sweep table.ms-table th{font-weight:600}
.metta-sweep table.ms-table .ms-right{text-align:right}
.metta-sweep .ms-failed{border-left:3px solid #d9534f;padding-left:.6em;margin:.4em 0}
"""


def results_card(name: str, table: TrialTable | None) -> Html:
    """Results of a sweep.

    Args:
        name: Name of the sweep.
        table: What is known of it; None while they are pending.
    """
    if table is None:
        text = "reading any of it waits for the end of the sweep; so does awaiting it"
        return _card(_head(name, "pending"), _dim(text))
    return _card(_head(name, "", _spent(table)), *_sweep(table))


def sweep_card(handle: SweepHandle) -> Html:
    """How far a sweep is, as its ledger tells it: nobody is asked who may not answer."""

    def parts() -> Sequence[Html]:
        table, _ = overview_of(handle.ledger)
        if table.spec is None:
            return _head(handle.name, "starting", ui=handle.ui), _dim("nothing is recorded yet")
        state: str = table.control.state
        if table.finish:
            state = "failed" if table.finish.reason == "failed" else "finished"
        head = _head(handle.name, state, f"{_spent(table)}{_since(state, table.at)}", handle.ui)
        notice = _failed(table.finish.message) if table.finish and table.finish.message else Html()
        return head, *_sweep(table), notice

    return _recorded(handle.name, parts)


def experiment_card(handle: ExperimentHandle) -> Html:
    """How far an experiment is, as its outcome log tells it."""

    def parts() -> Sequence[Html]:
        stages = stages_of(handle.log)
        if stages.began is None:
            return _head(handle.name, "starting", ui=handle.ui), _dim("nothing is recorded yet")
        state = stages.state or "running"
        said = f"{stages.summary()}{_since(state, stages.at)}"
        notice = stages.finished.message if stages.finished else ""
        head = _head(handle.name, state, said, handle.ui)
        return head, _stages(stages), _failed(notice) if notice else Html()

    return _recorded(handle.name, parts)


def _recorded(name: str, parts: Callable[[], Sequence[Html]]) -> Html:
    """A card of what is recorded; a notebook shows one also where that cannot be read."""
    try:
        return _card(*parts())
    except StoreError as error:
        return _card(_head(name, "not readable"), _failed(str(error)))


def _card(*parts: Html) -> Html:
    return element("div", element("style", Html(STYLE)), *parts, class_="metta-sweep")


def _head(name: str, state: str, said: str = "", ui: str = "") -> Html:
    link = [element("a", "Temporal UI", href=ui, target="_blank", rel="noopener")] if ui else []
    pill = element("span", state, class_="ms-state") if state else Html(" &nbsp; ")
    parts = [element("span", name, class_="ms-name"), pill, element("span", said, class_="ms-dim")]
    return element("div", *parts, Html(" &nbsp; ") if link else "", *link)


def _since(state: str, at: float | None) -> str:
    """When something was recorded last of what is not over: who is dead does not say so."""
    if at is None or state in ("finished", "failed"):
        return ""
    return f"; last recorded {duration_text(max(0.0, time() - at))} ago"


def _spent(table: TrialTable) -> str:
    """Trials and time; what became of the trials stands below."""
    return counts_text(table, table.elapsed_s).partition(":")[0]


def _sweep(table: TrialTable) -> Sequence[Html]:
    failures = failures_text(table)
    return [
        _bar(table),
        _best(table),
        _trials(table),
        _failed(failures) if failures else Html(),
        *(_dim(warning) for warning in table.warnings),
    ]


def _bar(table: TrialTable) -> Html:
    """What became of the trials, as numbers and as shares of all that may be started."""
    counts = table.counts.model_dump()
    most = max(counts["started"], table.control.budget.trials or 0)
    shares = [
        element(
            "div",
            style=f"width:{100 * counts[name] / most:.3g}%;background:{colour}",
            title=f"{counts[name]} {name}",
        )
        for name, colour in SHARES.items()
        if counts[name]
    ]
    told = [_count(f"{counts[name]} {name}", colour) for name, colour in SHARES.items() if counts[name]]
    return joined(element("div", *shares, class_="ms-bar"), element("div", *told)) if shares else Html()


def _count(text: str, colour: str) -> Html:
    dot = element("span", class_="ms-dot", style=f"background:{colour}")
    return element("span", dot, text, class_="ms-count")


def _best(table: TrialTable) -> Html:
    best = table.best
    if best is None or table.objective is None:
        return Html()
    value, _, rest = best_text(table).rpartition(" (")
    line = joined(
        element("span", "best ", class_="ms-dim"), element("span", value, class_="ms-value"), f" ({rest}"
    )
    params = [_param(name, found) for name, found in list(best.params.items())[:VALUES]]
    if (left := len(best.params) - len(params)) > 0:
        params.append(_dim(f"and {left} more"))
    return joined(element("div", line, class_="ms-best"), element("div", *params, class_="ms-params"))


def _param(name: str, value: object) -> Html:
    text = str(value)
    return element(
        "code", f"{name} = {_cut(text)}", class_="ms-param", title=text if _cut(text) != text else ""
    )


def _trials(table: TrialTable) -> Html:
    """The best trials; columns as in a terminal."""
    rows = table.leaderboard(ROWS)
    if not rows or table.objective is None:
        return Html()
    space = list(table.spec.search_space) if table.spec else []
    names = space[:PARAMS]
    columns: list[tuple[str, Callable[[Row], str], bool]] = [
        ("trial", lambda row: str(row.trial), True),
        (table.objective.metric, lambda row: value_text(row.value), True),
    ]
    if any(row.step is not None for row in rows):
        columns.append(("step", lambda row: "-" if row.step is None else str(row.step), True))
    columns += [(name, _value_of(name), False) for name in names]
    if any(row.status != "completed" for row in rows):
        columns.append(("status", lambda row: row.status, False))
    made = _table([(title, [cell(row) for row in rows], right) for title, cell, right in columns])
    left = space[PARAMS:]
    return joined(made, _dim(f"not shown: {', '.join(left)}") if left else Html())


def _value_of(name: str) -> Callable[[Row], str]:
    return lambda row: value_text(row.params[name]) if name in row.params else "-"


def _stages(stages: Stages) -> Html:
    rows = stages.rows
    if not rows:
        return Html()
    return _table(
        [
            ("stage", [row.stage for row in rows], False),
            ("status", [row.status for row in rows], False),
            ("time", [_time(row) for row in rows], True),
            ("attempts", [str(row.attempts or "-") for row in rows], True),
            ("", ["; ".join(row.notes) for row in rows], False),
        ]
    )


def _time(row: StageRow) -> str:
    if row.status in ("failed", "skipped", "running"):
        return "-"
    return duration_text(row.seconds) if row.seconds >= 0.1 else f"{row.seconds * 1000:.0f} ms"


def _table(columns: Sequence[tuple[str, Sequence[str], bool]]) -> Html:
    """Columns by their titles, cells, and whether they stand at the right edge."""

    def cell(tag: str, text: str, right: bool) -> Html:
        cut = _cut(text)
        return element(tag, cut, class_="ms-right" if right else "", title=text if cut != text else "")

    head = element("tr", *(cell("th", title, right) for title, _, right in columns))
    lines = zip(*(cells for _, cells, _ in columns), strict=True)
    sides = [right for *_, right in columns]
    body = [
        element("tr", *(cell("td", text, right) for text, right in zip(line, sides, strict=True)))
        for line in lines
    ]
    table = element("table", element("thead", head), element("tbody", *body), class_="ms-table")
    return element("div", table, class_="ms-scroll")


def _cut(text: str) -> str:
    return text if len(text) <= CELL else f"{text[: CELL - 1]}…"


def _failed(text: str) -> Html:
    return element("div", text, class_="ms-failed")


def _dim(text: str) -> Html:
    return element("div", text, class_="ms-dim")
