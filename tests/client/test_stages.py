"""What an outcome log tells, in a terminal and in a file."""

import io
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from threading import Timer

import pytest
from rich.console import Console

from metta.sweep.client import stage_lines
from metta.sweep.client.stage_lines import follow_stages, row_text, table_of_rows
from metta.sweep.client.stages import LATEST, Stages, all_rows, stages_of
from metta.sweep.contracts.experiments import Row
from metta.sweep.contracts.outcomes import AttemptFailed, Began, Entry, Finished, Line, StageEnded
from metta.sweep.contracts.plans import At, Outcome, Profile, StageFailure
from metta.sweep.contracts.values import Value
from metta.sweep.stores.outcomes import FileOutcomeLog


class Told:
    """An outcome log that somebody else writes while it is followed."""

    def __init__(self, path: Path) -> None:
        self.log = FileOutcomeLog(path)
        self._writer = FileOutcomeLog(path)
        self._n = 0

    def write(self, *entries: Entry) -> None:
        self._writer.commit(Line(n=self._n, writer="w", entries=entries))
        self._n += 1

    def begin(self, at: float = 0.0, **forgotten: tuple[int, ...]) -> None:
        self.write(
            Began(recorded=at, run="r", experiment="mine.py:flow", fingerprint="f", forgotten=forgotten)
        )

    def stages(self, *paths: str, status: str = "done", seconds: float = 1.5) -> None:
        outcomes = (
            Outcome.model_validate({"stage": path, "status": status, "attempts": 1}) for path in paths
        )
        self.write(*(_ended(outcome, seconds) for outcome in outcomes))

    def fail(self, path: str, attempts: int, message: str = "ValueError: no luck\nmore") -> None:
        failure = StageFailure(stage=path, kind="user", message=message, attempts=attempts)
        self.write(AttemptFailed(recorded=5.0, at=At(path), failure=failure))

    def finish(self, at: float = 9.0) -> None:
        self.write(Finished(recorded=at, reason="completed"))


def _ended(outcome: Outcome, seconds: float) -> StageEnded:
    return StageEnded(recorded=4.0, at=At(outcome.stage), outcome=outcome, value=Value(), seconds=seconds)


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    told = Told(tmp_path / "outcomes.jsonl")
    yield told
    told._writer.close()


def test_a_log_is_read_on_from_where_it_was_read_to(told: Told) -> None:
    stages = Stages(told.log)
    assert (stages.update(), stages.summary(), stages.state) == ([], "0 stages in 0.0 s", None)
    told.begin(1.0)
    told.stages("first")
    told.fail("second", 1)
    assert [(row.stage, row.status) for row in stages.update()] == [("first", "done"), ("second", "failed")]
    assert [row.stage for row in stages.rows] == ["first", "second"]
    told.stages("second", status="cached")
    told.finish(4.0)
    assert [row.stage for row in stages.update()] == ["second"]
    assert [row.status for row in stages.rows] == ["done", "cached"]
    assert (stages.summary(), stages.state) == ("2 stages in 3.0 s: 1 cached", "finished")


def test_of_many_stages_the_latest_are_kept_and_all_can_be_listed(told: Told) -> None:
    told.begin()
    told.stages(*(f"count[{n}]" for n in range(1000)))
    told.fail("last", 3)
    stages = stages_of(told.log)
    assert [row.stage for row in stages.rows] == [f"count[{n}]" for n in range(1000 - LATEST, 1000)] + [
        "last"
    ]
    rows = list(all_rows(told.log))
    assert (len(rows), rows[0].stage, rows[-1]) == (
        1001,
        "count[0]",
        Row(stage="last", status="failed", attempts=3, notes=("ValueError: no luck",)),
    )


def test_what_is_forgotten_is_told_no_more(told: Told) -> None:
    told.begin()
    told.stages("load", "train", "test", "tell", status="cached")
    told.fail("end", 1)
    told.begin(5.0, test=(), tell=(), end=())
    stages = stages_of(told.log)
    assert ([row.stage for row in stages.rows], dict(stages.counts)) == (["load", "train"], {"cached": 2})
    told.stages("test")
    assert [row.stage for row in stages.update()] == ["test"]
    assert (stages.counts.total(), stages.summary().partition(": ")[2]) == (3, "2 cached")
    assert [(row.stage, row.status) for row in all_rows(told.log)] == [
        ("load", "cached"),
        ("train", "cached"),
        ("test", "done"),
    ]
    told.begin(6.0, load=(), train=())
    stages.update()
    assert stages.summary().startswith("1 stage in ")
    assert "cached" not in stages.summary()


def test_notes_tell_of_failed_hooks_profile_and_metrics(told: Told) -> None:
    outcome = Outcome(
        stage="train",
        attempts=2,
        failed_hooks={"log": 1, "after": 3},
        profile=Profile(wall_s=1.0, cpu_s=0.5, peak_bytes=3 * 2**20),
        metrics={"loss": 0.123456},
    )
    told.begin()
    told.write(_ended(outcome, 1.25))
    [row] = stages_of(told.log).rows
    assert row_text(row) == (
        "train  done  1.2 s  2 attempts  its log hook failed; its after hook failed 3 times;"
        " 1.00 s wall, 0.50 s CPU, 3.0 MiB at most; loss 0.1235"
    )
    console = Console(file=io.StringIO(), width=200, record=True)
    console.print(table_of_rows([row, Row(stage="next", status="running")]))
    lines = [line.split() for line in console.export_text().splitlines()]
    assert lines[0] == ["stage", "status", "time", "attempts", "notes"]
    assert lines[1][:5] == ["train", "done", "1.2", "s", "2"]
    assert lines[2] == ["next", "running", "-", "-"]


def followed(told: Told, console: Console, after_s: float) -> None:
    end: Future[None] = Future()
    timer = Timer(after_s, end.set_result, [None])
    timer.start()
    follow_stages(told.log, end, console, lambda: "running evaluate")
    timer.join()


def test_a_file_gets_a_line_for_each_stage_and_a_count_where_they_are_many(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage_lines, "LINES_S", 0.5)
    told.begin()
    told.stages("prepare", seconds=0.012)
    Timer(0.6, told.stages, [f"count[{n}]" for n in range(300)]).start()
    file = io.StringIO()
    followed(told, Console(file=file, width=40), after_s=1.6)
    lines = file.getvalue().splitlines()
    assert lines[0] == "prepare  done  12 ms"
    assert lines[1].startswith("301 stages in ")
    assert lines[2:] == ["count[299]  done  1.5 s"]


def test_a_terminal_shows_a_table_that_stays(told: Told) -> None:
    told.begin()
    told.stages("prepare")
    Timer(0.4, told.stages, ["train"]).start()
    file = io.StringIO()
    followed(told, Console(file=file, width=80, force_terminal=True, color_system=None), after_s=1.0)
    frames = file.getvalue()
    assert "1 stage in " in frames
    assert "; running evaluate" in frames
    # the last frame is not wiped, and is without a note, for nothing runs any more
    last = frames.rpartition("\x1b[2K")[2]
    assert [line.split()[:2] for line in last.splitlines()[:3]] == [
        ["stage", "status"],
        ["prepare", "done"],
        ["train", "done"],
    ]
    assert "running" not in last
