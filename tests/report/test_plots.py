import json
import sys
from typing import Any

import plotly.graph_objects as go
import pytest

from metta.sweep import DefinitionError
from metta.sweep.client.results import Results
from metta.sweep.contracts.decisions import Start
from metta.sweep.report.plots import best_so_far
from metta.sweep.stores.trials import TrialTable
from tests.report.varied import varied
from tests.stores.stories import Story


def history(table: TrialTable) -> dict[str, Any]:
    """The traces by their names; the figure is one that plotly can draw."""
    figure: Any = Results.of("digits", table).plot("history")
    json.loads(figure.to_json())
    traces = {trace.name: trace for trace in figure.data}
    assert isinstance(figure, go.Figure)
    return traces


def story_of(*values: float | None, metric: str = "loss") -> TrialTable:
    """Trials with these values, and some that failed."""
    story = Story(metric=metric)
    story.start(len(values))
    for number, value in enumerate(values):
        if value is None:
            story.fail(number)
        else:
            story.complete(number, **{metric: value})
    return story.table


def test_each_trial_stands_at_its_number_by_what_became_of_it() -> None:
    traces = history(varied())
    assert set(traces) == {"completed", "stopped", "paused", "failed", "best so far"}
    assert list(traces["completed"].x) == [0, 3]
    assert list(traces["completed"].y) == [0.9, 0.5]
    assert list(traces["failed"].x) == [1, 2]
    assert traces["failed"].yaxis == "y2"  # beside the values, for it has none
    assert traces["failed"].marker.symbol == "x"
    assert list(traces["best so far"].x) == [0, 6]
    assert list(traces["best so far"].y) == [0.9, 0.9]


@pytest.mark.parametrize(
    ("metric", "best"),
    [("loss", [(1, 3.0), (3, 1.0), (5, 1.0)]), ("accuracy", [(1, 3.0), (4, 4.0), (5, 4.0)])],
)
def test_the_best_so_far_goes_by_the_goal(metric: str, best: list[tuple[int, float]]) -> None:
    table = story_of(None, 3.0, 3.0, 1.0, 4.0, 2.0, metric=metric)
    assert best_so_far(table) == best
    assert table.best is not None
    assert table.value(table.best) == best[-1][1]


def test_what_failed_is_never_the_best() -> None:
    story = Story(metric="loss")
    story.start(2)
    story.report(0, 1, loss=0.1)
    story.fail(0)
    story.complete(1, loss=0.5)
    assert best_so_far(story.table) == [(1, 0.5)]


def test_the_pointer_shows_parameters_and_failures() -> None:
    traces = history(varied())
    told = traces["completed"].hovertext[0]
    assert told.startswith("trial 0, completed<br>accuracy 0.9<br>x = 0.1<br>model = cnn<br>cnn.depth = 3")
    assert (
        traces["failed"]
        .hovertext[1]
        .startswith("trial 2, failed<br>infeasible: does not fit into memory<br>x = 0.1")
    )


def test_nothing_that_somebody_wrote_becomes_html() -> None:
    story = Story(metric="<b>loss</b>", goal="minimize")
    params = {"<i>x</i>": "<a href='elsewhere'>click</a>", "long": "y" * 10_000}
    story.decide(Start.model_validate({"trial": 0, "params": params, "seed": 0}))
    story.complete(0, **{"<b>loss</b>": 0.5})
    figure: Any = Results.of("<u>digits</u>", story.table).plot()
    [told] = figure.data[0].hovertext
    assert told.replace("<br>", "").count("<") == 0
    assert len(told) < 500
    assert figure.layout.title.text == "&lt;u&gt;digits&lt;/u&gt;"
    assert figure.layout.yaxis.title.text == "&lt;b&gt;loss&lt;/b&gt; (minimize)"


@pytest.mark.parametrize("values", [(), (0.5,), (None,), (None, None)])
def test_few_trials_make_a_figure_too(values: tuple[float | None, ...]) -> None:
    traces = history(story_of(*values))
    assert ("failed" in traces) == (None in values)
    assert ("best so far" in traces) == (0.5 in values)


def test_a_trial_that_has_no_value_yet_is_left_out() -> None:
    story = Story()
    story.start()
    assert history(story.table) == {}


@pytest.mark.parametrize(("trials", "kind"), [(1000, "scatter"), (1001, "scattergl")])
def test_many_points_are_drawn_by_the_graphics_card(trials: int, kind: str) -> None:
    traces = history(story_of(*(float(n) for n in range(trials))))
    assert {trace.type for trace in traces.values()} == {kind}


def test_a_plot_that_there_is_not_is_told() -> None:
    with pytest.raises(DefinitionError) as caught:
        Results.of("digits", varied()).plot("histroy")
    assert str(caught.value) == "the plot: there is no plot 'histroy'; did you mean history?"
    with pytest.raises(DefinitionError, match=r"there is no plot 'pie'\. Known: history"):
        Results.of("digits", varied()).plot("pie")


def test_who_has_no_plotly_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.partition(".")[0] == "plotly"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "plotly", None)
    with pytest.raises(DefinitionError) as caught:
        Results.of("digits", varied()).plot()
    assert str(caught.value) == 'the plot: it needs plotly: pip install "metta-sweep[report]"'
