import builtins
import io
import re
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from threading import Timer
from time import sleep
from typing import Any, Literal

import pytest
from rich.console import Console

from metta.sweep.client import live
from metta.sweep.client.consoles import console_of
from metta.sweep.client.live import Follower, follow, progress_of, spent, summary_of
from metta.sweep.contracts.budgets import Budget, Control
from metta.sweep.contracts.chunks import Chunk
from metta.sweep.contracts.decisions import Decision, Interrupt, Retry, Start
from metta.sweep.contracts.events import Completed, ControlChanged, Created, Event, Opened
from metta.sweep.contracts.sweeps import Counts
from metta.sweep.stores.ledgers import FileLedger
from tests.stores.stories import Story, spec


def printed(story: Story, elapsed_s: float = 7.25) -> list[str]:
    console = Console(file=io.StringIO(), width=80, record=True)
    console.print(progress_of(story.table, elapsed_s), soft_wrap=True)
    return console.export_text().splitlines()


def test_a_sweep_without_trials() -> None:
    assert printed(Story()) == ["0 trials in 7.2 s"]


def test_a_sweep_whose_trials_all_run() -> None:
    story = Story()
    story.open(version=1, trials=40)
    story.start(2)
    assert printed(story) == ["2 of 40 trials in 7.2 s: 2 running"]
    assert summary_of(story.table, 7.25) == "2 of 40 trials in 7.2 s: 2 running"


def test_failures_are_counted_and_the_commonest_is_told_in_one_line() -> None:
    story = Story(metric="accuracy")
    story.start(4)
    story.complete(0, accuracy=0.5)
    story.fail(1, message="ValueError: no [model]\nwith more lines")
    assert printed(story)[:2] == [
        "4 trials in 7.2 s: 2 running, 1 completed, 1 failed",
        "1 failed: ValueError: no [model]",
    ]
    story.fail(2, message="ValueError: no [model]\nwith more lines")
    story.fail(3, message="OSError: once")
    assert printed(story)[1] == "3 failed, most often with: ValueError: no [model]"
    assert summary_of(story.table, 7.25) == (
        "4 trials in 7.2 s: 1 completed, 3 failed; best accuracy 0.5 (maximize), trial 0"
    )


def test_one_trial_is_one() -> None:
    story = Story()
    story.start()
    assert printed(story) == ["1 trial in 7.2 s: 1 running"]
    story.open(version=1, trials=1)
    assert printed(story) == ["1 of 1 trial in 7.2 s: 1 running"]


def test_what_was_interrupted_for_a_pause_is_shown_as_paused() -> None:
    story = Story()
    story.start(3)
    control = Control(run="run", version=1, pause="now")
    story.tell(ControlChanged(at=story.later(), control=control))
    for trial in range(3):
        story.decide(Interrupt(trial=trial))
    assert printed(story) == ["3 trials in 7.2 s: 3 running"]
    for trial in range(2):
        story.end(trial)
        story.decide(Retry(trial=trial, segment=0, attempt=2))  # which waits until it is resumed
    assert printed(story) == ["3 trials in 7.2 s: 1 running, 2 paused"]
    assert [*map(story.table.status_of, story.table.records)] == ["paused", "paused", "running"]
    assert story.table.progress().counts == Counts(started=3, running=1, paused=2)
    story.control(version=2)
    assert printed(story) == ["3 trials in 7.2 s: 3 running"]


@pytest.mark.parametrize(
    ("budget", "share"),
    [
        (Budget(), 0.0),
        (Budget(trials=40), 0.25),
        (Budget(trials=40, seconds=20), 0.5),
        (Budget(trials=5, hours=1), 1.0),
        (Budget(target=0.9), 0.0),
    ],
)
def test_the_bar_shows_the_limit_that_is_nearest(budget: Budget, share: float) -> None:
    assert spent(budget, started=10, elapsed_s=10.0) == share


class Told:
    """A ledger that somebody else writes while it is followed."""

    def __init__(self, path: Path) -> None:
        self.ledger = FileLedger(path)
        self._writer = FileLedger(path)
        self._n = 0

    def write(self, *events: Event, decisions: tuple[Decision, ...] = ()) -> None:
        self._writer.commit(Chunk(n=self._n, writer="w", epoch=1, events=events, decisions=decisions))
        self._n += 1

    def begin(self) -> None:
        control = Control(run="r", budget=Budget(trials=4))
        self.write(Created(at=1.0, spec=spec(metric="accuracy")), Opened(at=1.0, epoch=1, control=control))

    def trial(self, number: int) -> None:
        self.write(decisions=(Start(trial=number, params={"x": 0.5}, seed=0),))
        self.write(Completed(at=2.0 + number, trial=number, metrics={"accuracy": 0.5 + number / 10}))

    def control(self, version: int, pause: Literal["soon", "now"] | None) -> None:
        control = Control(run="r", version=version, budget=Budget(trials=4), pause=pause)
        self.write(ControlChanged(at=2.0 + version, control=control))


def followed(console: Console, ledger: FileLedger, after_s: float, note: Callable[[], str] = str) -> None:
    end: Future[None] = Future()
    timer = Timer(after_s, end.set_result, [None])
    timer.start()
    follow(ledger, end, console, note)
    timer.join()


def test_a_terminal_shows_it_live_and_is_clean_at_the_end(tmp_path: Path) -> None:
    told = Told(tmp_path / "ledger.jsonl")
    file = io.StringIO()
    console = Console(file=file, width=80, force_terminal=True, force_interactive=True, color_system=None)
    Timer(0.3, told.begin).start()
    Timer(0.6, told.trial, [0]).start()
    followed(console, told.ledger, after_s=1.2, note=lambda: "waiting for a free slot")
    frames = file.getvalue()
    assert frames.index("starting") < frames.index("0 of 4 trials") < frames.index("1 of 4 trials")
    assert "━" in frames
    assert "note: waiting for a free slot" in frames
    assert frames.endswith("\x1b[2K")  # the last frame is wiped: what stays is printed by others


def test_a_file_gets_plain_lines_when_something_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "LINE_S", 0.4)
    told = Told(tmp_path / "ledger.jsonl")
    told.begin()
    file = io.StringIO()
    notes = iter(["", "", ""] + 100 * ["waiting for a free slot"])
    Timer(0.1, told.trial, [0]).start()
    Timer(0.15, told.trial, [1]).start()
    followed(Console(file=file, width=40), told.ledger, after_s=2.5, note=lambda: next(notes))
    best = r"2 of 4 trials in 2\.0 s: 2 completed; best accuracy 0\.6 \(maximize\), trial 1"
    assert re.fullmatch(rf"{best}\n{best}; note: waiting for a free slot\n", file.getvalue())


def test_a_pause_is_told_and_stops_the_clock(tmp_path: Path) -> None:
    told = Told(tmp_path / "ledger.jsonl")
    told.begin()
    told.write(decisions=(Start(trial=0, params={"x": 0.5}, seed=0),))
    follower = Follower(told.ledger)

    def is_counting() -> bool:
        follower.update()
        before = follower.elapsed_s
        sleep(0.02)
        return follower.elapsed_s > before

    assert (follower.pause, is_counting()) == ("", True)
    told.control(1, "soon")
    assert (is_counting(), follower.pause) == (False, "paused; running trials come to their end")
    told.control(2, "now")
    assert (is_counting(), follower.pause) == (False, "paused")
    told.control(3, None)
    assert (is_counting(), follower.pause) == (True, "")


def test_a_paused_sweep_says_so_beside_what_it_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "LINE_S", 0.1)
    told = Told(tmp_path / "ledger.jsonl")
    told.begin()
    told.control(1, "now")
    file = io.StringIO()
    followed(Console(file=file), told.ledger, after_s=0.6, note=lambda: "no room")
    assert file.getvalue() == "0 of 4 trials in 2.0 s; note: paused; no room\n"


def test_a_sweep_that_ends_soon_leaves_nothing_in_a_file(tmp_path: Path) -> None:
    file = io.StringIO()
    followed(Console(file=file), FileLedger(tmp_path / "ledger.jsonl"), after_s=0.1)
    assert file.getvalue() == ""


def test_colours_alone_make_no_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("sys.stderr", file := io.StringIO())
    monkeypatch.setattr(live, "LINE_S", 0.1)
    told = Told(tmp_path / "ledger.jsonl")
    told.begin()
    followed(console_of(stderr=True), told.ledger, after_s=0.6)
    assert file.getvalue() == "0 of 4 trials in 0.0 s\n"


@pytest.mark.filterwarnings("error")
def test_a_notebook_without_widgets_gets_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class ZMQInteractiveShell:  # by this name rich knows a notebook
        pass

    monkeypatch.setattr(builtins, "get_ipython", ZMQInteractiveShell, raising=False)
    monkeypatch.setattr(live, "LINE_S", 0.1)
    shown: list[Any] = []
    monkeypatch.setattr("rich.jupyter.display", lambda segments, text: shown.append(text))
    told = Told(tmp_path / "ledger.jsonl")
    told.begin()
    console = console_of(stderr=True)
    assert console.is_jupyter
    followed(console, told.ledger, after_s=0.6)
    assert shown == ["0 of 4 trials in 0.0 s\n"]
