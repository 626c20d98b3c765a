"""What notebooks show; that it looks well, in the light and in the dark, only eyes can tell."""

import re
from pathlib import Path

import pytest

from metta.sweep.client.handle import SweepHandle
from metta.sweep.client.results import Results
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.budgets import Budget, Control
from metta.sweep.contracts.chunks import Chunk
from metta.sweep.contracts.decisions import Finish, Start
from metta.sweep.contracts.events import Completed, Created, Event, Opened
from metta.sweep.report.markup import element, joined
from metta.sweep.stores.files import FileStore
from metta.sweep.stores.trials import TrialTable
from tests.report.pages import Page
from tests.report.varied import varied
from tests.stores.stories import Story, spec

EVIL = "<script>alert('x')</script>&\""


def card_of(table: TrialTable | None, name: str = "digits") -> Page:
    async def ending() -> TrialTable:
        raise AssertionError("nothing is waited for")

    results = Results(name, ending) if table is None else Results.of(name, table)
    return Page(results._repr_html_())


def test_results_tell_counts_the_best_trial_and_failures() -> None:
    page = card_of(varied())
    assert "digits" in page.text
    assert "7 trials in" in page.text
    assert "2 completed1 stopped1 paused1 running2 failed" in page.text
    assert "best accuracy 0.9 (maximize), trial 0" in page.text
    assert "x = 0.1" in page.text
    assert "layers = [64, 32]" in page.text
    assert "2 failed, most often with: ValueError: größer" in page.text
    titles = ["trial", "accuracy", "step", "x", "model", "cnn.depth", "mlp.bias", "layers", "size", "status"]
    assert page.cells[: len(titles)] == titles
    assert page.cells[len(titles) :: len(titles)] == ["0", "3", "4", "5"]
    assert page.cells[2 * len(titles) + 5] == "-"  # no parameter of that model


def test_pending_results_are_shown_without_waiting() -> None:
    assert "pending" in card_of(None).text


def test_a_sweep_without_trials_is_shown() -> None:
    page = card_of(Story().table)
    assert "0 trials in" in page.text
    assert "table" not in page.tags


@pytest.mark.parametrize("where", ["name", "metric", "param", "value", "message"])
def test_nothing_that_somebody_wrote_becomes_html(where: str) -> None:
    named = {n: EVIL if n == where else n for n in ("name", "metric", "param", "value", "message")}
    story = Story(metric=named["metric"])
    story.decide(Start(trial=0, params={"x": named["value"], named["param"]: [EVIL]}, seed=0))
    story.complete(0, **{named["metric"]: 0.5})
    story.start()
    story.fail(1, message=named["message"])
    page = card_of(story.table, named["name"])
    assert "script" not in page.tags
    assert EVIL in page.text
    assert not [name for name, _ in page.attributes if name.startswith("on")]


def test_a_card_needs_nothing_from_elsewhere() -> None:
    html = Results.of("digits", varied())._repr_html_()
    assert not re.search(r"<script|<link|<img|<iframe|@import|url\(|https?:", html)


def test_many_parameters_and_long_values_stay_legible() -> None:
    space = {f"p{n}": {"type": "uniform", "low": 0, "high": 1} for n in range(100)}
    story = Story(search_space=space, metric="accuracy")
    story.decide(Start(trial=0, params=dict.fromkeys(space, "x" * 500), seed=0))
    story.complete(0, accuracy=0.5)
    page = card_of(story.table)
    assert "not shown: p8, p9, p10" in page.text
    assert "and 40 more" in page.text
    assert "x" * 40 not in page.text
    assert ("title", "x" * 500) in page.attributes


def recorded(folder: Path, *events: Event, **decided: object) -> SweepHandle:
    """The handle of a sweep with this ledger, whose server would fail the test."""

    async def connect() -> object:
        raise AssertionError("no server is asked")

    store = FileStore(folder / "store")
    for n, event in enumerate(events):
        store.ledger("digits").commit(Chunk(n=n, writer="w", epoch=1, events=(event,)))
    settings = Settings(folder)
    return SweepHandle("digits", store, settings, connect)  # type: ignore[arg-type]  # it is never called


CREATED = Created(at=1.0, spec=spec(metric="accuracy"))
OPENED = Opened(at=2.0, epoch=1, control=Control(run="r", budget=Budget(trials=4)))


def test_the_handle_of_a_sweep_shows_how_far_it_is_and_asks_nobody(tmp_path: Path) -> None:
    handle = recorded(tmp_path, CREATED, OPENED)
    ledger = handle.ledger
    ledger.commit(Chunk(n=2, writer="w", epoch=1, decisions=(Start(trial=0, params={"x": 0.5}, seed=0),)))
    page = Page(handle._repr_html_())
    assert "running1 of 4 trials in" in page.text
    assert re.search(r"last recorded \d+ h \d+ min ago", page.text)
    done = Completed(at=3.0, trial=0, seconds=1.0, metrics={"accuracy": 0.5})
    ledger.commit(Chunk(n=3, writer="w", epoch=1, events=(done,), decisions=(Finish(reason="budget"),)))
    page = Page(handle._repr_html_())
    assert "finished1 of 4 trials in" in page.text
    assert "last recorded" not in page.text
    assert "best accuracy 0.5" in page.text


def test_a_sweep_that_is_paused_or_not_recorded_yet_says_so(tmp_path: Path) -> None:
    assert "nothing is recorded yet" in Page(recorded(tmp_path)._repr_html_()).text
    paused = OPENED.model_copy(update={"control": Control(run="r", pause="soon")})
    assert "paused0 trials in" in Page(recorded(tmp_path, CREATED, paused)._repr_html_()).text


def test_a_damaged_ledger_is_shown_as_such(tmp_path: Path) -> None:
    handle = recorded(tmp_path, CREATED, OPENED)
    path = tmp_path / "store" / "sweeps" / "digits" / "ledger.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"accuracy"', b'"accuracz"'))
    page = Page(handle._repr_html_())
    assert "not readable" in page.text
    assert "is damaged" in page.text


def test_texts_are_escaped_and_html_is_not() -> None:
    assert element("b", EVIL, title=EVIL).count("<") == 2
    assert joined("<", element("i", "x")) == "&lt;<i>x</i>"
    assert element("b", class_="a", title="") == '<b class="a"></b>'
