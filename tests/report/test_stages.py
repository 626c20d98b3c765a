"""Experiments: their stages as rows, and what a notebook shows of them."""

from pathlib import Path

from metta.sweep.client.experiment_handle import ExperimentHandle
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.outcomes import AttemptFailed, Began, Entry, Finished, Line, StageEnded
from metta.sweep.contracts.plans import At, Outcome, StageFailure
from metta.sweep.contracts.values import Value
from metta.sweep.report.stages import stage_rows
from metta.sweep.stores.files import FileStore
from tests.report.pages import Page

BEGAN = Began(recorded=1.0, run="r", experiment="m:E", fingerprint="f")


def ended(stage: str, turns: tuple[int, ...] = (), **metrics: float) -> StageEnded:
    at = At(stage, turns)
    outcome = Outcome(stage=str(at), attempts=1, metrics=metrics)
    return StageEnded(recorded=2.0, at=at, outcome=outcome, value=Value(), seconds=0.25)


def failed(stage: str, attempts: int = 1) -> AttemptFailed:
    failure = StageFailure(stage=stage, kind="user", message="<b>no luck</b>", attempts=attempts)
    return AttemptFailed(recorded=3.0, at=At(stage), failure=failure)


def experiment(folder: Path, *entries: Entry) -> ExperimentHandle:
    """The handle of an experiment with this log, whose server would fail the test."""

    async def connect() -> object:
        raise AssertionError("no server is asked")

    store = FileStore(folder / "store")
    if entries:
        store.outcome_log("pipe").commit(Line(n=0, writer="w", entries=entries))
    return ExperimentHandle("pipe", store, Settings(folder), connect)  # type: ignore[arg-type]  # not called


def test_each_stage_is_a_row_and_so_is_one_that_failed_for_good(tmp_path: Path) -> None:
    handle = experiment(
        tmp_path, BEGAN, failed("load"), ended("load", size=6.0), failed("train"), failed("train", 2)
    )
    rows = stage_rows(handle.log)
    load, train = rows.read()
    assert (load["stage"], load["status"], load["metrics"], load["failure"]) == (
        "load",
        "done",
        {"size": 6.0},
        None,
    )
    assert (train["stage"], train["status"], train["attempts"]) == ("train", "failed", 2)
    assert train["failure"] == {"kind": "user", "message": "<b>no luck</b>"}
    titles = [column.title for column in rows.columns()]
    assert titles == [
        "stage",
        "status",
        "metrics.size",
        "seconds",
        "attempts",
        "time",
        "failure.kind",
        "failure.message",
    ]


def test_what_an_experiment_does_not_go_on_with_is_no_row(tmp_path: Path) -> None:
    again = BEGAN.model_copy(update={"forgotten": {"train": (1,)}})
    turns = [ended("train", (turn,)) for turn in range(3)]
    handle = experiment(tmp_path, BEGAN, ended("load"), *turns, failed("tell"), again, ended("train", (1,)))
    assert [row["stage"] for row in stage_rows(handle.log).read()] == ["load", "train[0]", "train[1]"]


def test_a_notebook_shows_the_stages_and_asks_nobody(tmp_path: Path) -> None:
    handle = experiment(tmp_path, BEGAN, ended("load", size=6.0), failed("train"))
    page = Page(handle._repr_html_())
    assert "running" in page.text
    assert "1 stage in" in page.text
    assert page.cells[5:10] == ["load", "done", "0.2 s", "1", "size 6"]
    assert page.cells[10:] == ["train", "failed", "-", "1", "<b>no luck</b>"]
    finished = Finished(recorded=4.0, reason="failed", message="stage train failed: <b>no luck</b>")
    handle.log.commit(Line(n=1, writer="w", entries=(finished,)))
    page = Page(handle._repr_html_())
    assert "failed1 stage in 3.0 s" in page.text.replace("pipe", "")
    assert "stage train failed: <b>no luck</b>" in page.text
    assert "last recorded" not in page.text


def test_an_experiment_that_has_not_begun_says_so(tmp_path: Path) -> None:
    assert "nothing is recorded yet" in Page(experiment(tmp_path)._repr_html_()).text
