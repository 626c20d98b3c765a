"""Plots: pictures of a sweep, as figures of plotly's."""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from metta.sweep.contracts.errors import DefinitionError, nearest
from metta.sweep.contracts.metrics import Objective
from metta.sweep.contracts.records import TrialRecord
from metta.sweep.contracts.wording import value_text
from metta.sweep.report.libraries import library
from metta.sweep.stores.trials import TrialTable

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SUBJECT = "the plot"

MANY = 1000
"""Of more trials than these points are drawn by the graphics card."""

SPARSE, DENSE = {"size": 7}, {"size": 4, "opacity": 0.5}

PARAMS, CELL = 20, 60
"""So many parameters of a trial are shown where the pointer rests, and so many characters of each."""

COLOURS = {"completed": "#2e9e6b", "stopped": "#4a8fd9", "paused": "#9a7bd0", "running": "#d99a2b"}
FAILED, BEST = "#d9534f", "#7f7f7f"


def plot(kind: str, name: str, table: TrialTable) -> "Figure":
    """A picture of a sweep.

    Args:
        kind: Which one.
        name: Name of the sweep.
        table: What is known of it.

    Raises:
        DefinitionError: When there is no such plot, or plotly is not installed.
    """
    if kind not in PLOTS:
        raise DefinitionError([f"there is no plot {kind!r}{nearest(kind, list(PLOTS))}"], SUBJECT)
    return PLOTS[kind](name, table)


def history(name: str, table: TrialTable) -> "Figure":
    """Values of all trials by their numbers, and the best one so far; those that failed stand below them.

    Args:
        name: Name of the sweep.
        table: What is known of it.

    Raises:
        DefinitionError: When plotly is not installed.
    """
    go = library("plotly.graph_objects", SUBJECT)
    scatter = go.Scattergl if len(table.records) > MANY else go.Scatter
    figure: Figure = go.Figure(layout=_layout(name, table.objective))
    for status, colour in COLOURS.items():
        shown = [r for r in table.records if table.status_of(r) == status and table.value(r) is not None]
        if shown:
            values = [table.value(record) for record in shown]
            figure.add_trace(scatter(y=values, **_points(table, status, shown, colour)))
    if steps := best_so_far(table):
        x, y = zip(*steps, strict=True)
        line = {"color": BEST, "width": 2, "shape": "hv"}
        figure.add_trace(scatter(x=x, y=y, name="best so far", mode="lines", line=line, hoverinfo="skip"))
    if failed := [record for record in table.records if record.status == "failed"]:
        points = _points(table, "failed", failed, FAILED, "x")
        figure.add_trace(scatter(y=[0] * len(failed), yaxis="y2", **points))
    return figure


PLOTS: Mapping[str, Callable[[str, TrialTable], "Figure"]] = {"history": history}
"""All plots by their names."""


def best_so_far(table: TrialTable) -> Sequence[tuple[int, float]]:
    """Number and value of each trial that was better than all before; the last value again at the end."""
    steps: list[tuple[int, float]] = []
    least: float | None = None
    for record in table.records:
        loss, value = table.loss(record), table.value(record)
        if loss is None or value is None or (least is not None and loss >= least):
            continue
        least = loss
        steps.append((record.number, value))
    if steps and steps[-1][0] < table.records[-1].number:
        steps.append((table.records[-1].number, steps[-1][1]))
    return steps


def _layout(name: str, objective: Objective | None) -> dict[str, Any]:
    value = f"{escape(objective.metric)} ({objective.goal})" if objective else "value"
    return {
        "title": {"text": escape(name)},
        "xaxis": {"title": {"text": "trial"}, "anchor": "y2"},
        "yaxis": {"title": {"text": value}, "domain": [0.09, 1]},
        # a strip of its own: a trial that failed has no value
        "yaxis2": {"domain": [0, 0.06], "range": [-1, 1], "visible": False, "fixedrange": True},
        "hovermode": "closest",
    }


def _points(
    table: TrialTable, name: str, records: Sequence[TrialRecord], colour: str, symbol: str = "circle"
) -> dict[str, Any]:
    return {
        "x": [record.number for record in records],
        "name": name,
        "mode": "markers",
        "marker": {"color": colour, "symbol": symbol, **(DENSE if len(records) > MANY else SPARSE)},
        "hovertext": [_told(table, record) for record in records],
        "hoverinfo": "text",
    }


def _told(table: TrialTable, record: TrialRecord) -> str:
    """What is shown of a trial where the pointer rests on it."""
    lines = [f"trial {record.number}, {table.status_of(record)}"]
    if record.failure:
        first, *_ = record.failure.message.splitlines() or [""]
        lines.append(_cut(f"{record.failure.kind}: {first}"))
    elif table.objective:
        lines.append(f"{table.objective.metric} {value_text(table.value(record))}")
    lines += [_cut(f"{name} = {value_text(value)}") for name, value in list(record.params.items())[:PARAMS]]
    return "<br>".join(map(escape, lines))


def _cut(text: str) -> str:
    return text if len(text) <= CELL else f"{text[: CELL - 1]}…"
