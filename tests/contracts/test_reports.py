"""What a job appends to its reports, by the calls of its trial."""

import json
import os
from contextlib import ExitStack
from errno import ENOSPC
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metta.sweep.contracts.errors import BadMetric
from metta.sweep.contracts.jobs import ReportLine
from metta.sweep.contracts.reports import LINE_BYTES
from metta.sweep.trial import Trial
from tests.job import LIMIT_S, JobFiles


def trial_in(folder: Path, **told: Any) -> Trial:
    return Trial({"params": {}, **told}, folder, folder / "reports.jsonl")


def test_reports_are_lines_of_the_contract(tmp_path: Path) -> None:
    trial = trial_in(tmp_path, attempt=2)
    checkpoint = trial.checkpoint_dir / "step-2"
    checkpoint.mkdir()
    (checkpoint / "weights").write_text("1")
    trial.report(1, loss=0.5)
    trial.report(2, loss=0.25, checkpoint=checkpoint)
    trial.result({"loss": 0.2})
    trial.result(0.1)
    trial.fail("infeasible", "no such model")
    written = (tmp_path / "reports.jsonl").read_text().splitlines()
    assert [ReportLine.model_validate_json(line) for line in written] == [
        ReportLine(attempt=2, seq=0, step=1, metrics={"loss": 0.5}),
        ReportLine(attempt=2, seq=1, step=2, metrics={"loss": 0.25}, checkpoint=str(checkpoint)),
        ReportLine(attempt=2, seq=2, result={"loss": 0.2}),
        ReportLine(attempt=2, seq=3, result=0.1),
        ReportLine(attempt=2, seq=4, failure={"kind": "infeasible", "message": "no such model"}),
    ]


def test_steps_that_are_not_above_the_last_one_are_ignored(tmp_path: Path) -> None:
    files = JobFiles(tmp_path / "try-1", step=2)
    done = files.run(files.script("for step in (1, 2, 3, 3, 1, 4): trial.report(step, loss=step)"))
    assert (done.returncode, files.steps) == (0, [3, 4])


def test_another_attempt_counts_anew(tmp_path: Path) -> None:
    before = JobFiles(tmp_path / "try-1")
    before.run(before.script("trial.report(1, loss=1)"))
    again = JobFiles(tmp_path / "try-2", attempt=2, step=1)
    again.run(again.script("trial.report(1, loss=1); trial.report(2, loss=1)"))
    assert [(line["attempt"], line["seq"], line["step"]) for line in again.lines] == [(2, 0, 2)]


def test_lines_of_another_attempt_do_not_count(tmp_path: Path) -> None:
    trial_in(tmp_path, attempt=1).report(9, loss=1)
    trial_in(tmp_path, attempt=2).report(1, loss=1)
    line = json.loads((tmp_path / "reports.jsonl").read_text().splitlines()[1])
    assert (line["attempt"], line["seq"], line["step"]) == (2, 0, 1)


def test_processes_of_one_job_count_on(tmp_path: Path) -> None:
    files = JobFiles(tmp_path / "try-1")
    files.run(files.script("trial.report(1, loss=1)"))
    files.run(files.script("trial.report(1, loss=1); trial.report(2, loss=1)"))
    assert [(line["seq"], line["step"]) for line in files.lines] == [(0, 1), (1, 2)]


def test_processes_that_report_at_the_same_time_do_not_mix_their_lines(tmp_path: Path) -> None:
    files = JobFiles(tmp_path / "try-1")
    command = files.script("for _ in range(50): trial.result({'loss': 0.1})")
    with ExitStack() as stack:
        processes = [stack.enter_context(files.started(command)) for _ in range(3)]
        assert [process.wait(LIMIT_S) for process in processes] == [0, 0, 0]
    assert [line["seq"] for line in files.lines] == list(range(150))


def test_what_was_reported_is_there_when_the_process_is_killed(tmp_path: Path) -> None:
    files = JobFiles(tmp_path / "try-1")
    program = "for step in range(10**6): trial.report(step, loss=1); print(step, flush=True)"
    with files.started(files.script(program)) as process:
        assert process.stdout
        told = [int(process.stdout.readline()) for _ in range(20)]
        process.kill()
        told += map(int, process.stdout.read().split())
    whole = files.reports.read_text().splitlines(keepends=True)
    steps = [json.loads(line)["step"] for line in whole if line.endswith("\n")]
    assert told == steps[: len(told)] == list(range(len(told)))


@pytest.mark.parametrize("torn", ['{"attempt": 1, "seq": 0, "st', '{"attempt": 1, "seq": 0, "step": 1}', "7"])
def test_a_line_that_was_never_finished_does_not_spoil_the_next_one(tmp_path: Path, torn: str) -> None:
    (tmp_path / "reports.jsonl").write_text(torn)
    trial = trial_in(tmp_path)
    trial.report(2, loss=1)
    trial.report(3, loss=1)
    before, *after = (tmp_path / "reports.jsonl").read_text().splitlines()
    assert before == torn
    assert [json.loads(line)["step"] for line in after] == [2, 3]


def test_a_report_is_durable_and_whole_before_it_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, str]] = []

    def heard(call: str) -> None:
        real = getattr(os, call)

        def listen(file: int, *data: bytes) -> Any:
            calls.append((call, Path(os.readlink(f"/proc/self/fd/{file}")).name))
            return real(file, *data)

        monkeypatch.setattr(os, call, listen)

    trial = trial_in(tmp_path)
    checkpoint = trial.checkpoint_dir / "step-1"
    checkpoint.write_text("weights")
    heard("write")
    heard("fsync")
    trial.report(1, loss=1, checkpoint=checkpoint)
    of_checkpoint = [("fsync", "step-1"), ("fsync", "checkpoints")]
    assert calls == [*of_checkpoint, ("write", "reports.jsonl"), ("fsync", "reports.jsonl")]


def test_a_disk_that_fills_up_is_an_error_and_no_lost_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, write = trial_in(tmp_path), os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:9]))
    with pytest.raises(OSError, match=r"reports\.jsonl") as caught:
        trial.report(1, loss=1)
    assert caught.value.errno == ENOSPC
    monkeypatch.undo()
    trial.report(1, loss=1)
    torn, line = (tmp_path / "reports.jsonl").read_text().splitlines()
    assert torn == '{"attempt'
    assert json.loads(line)["step"] == 1


@pytest.mark.parametrize(
    "metrics",
    [{}, {"loss": float("nan")}, {"loss": float("-inf")}, {"loss": 10**400}, {"loss": True}, {"loss": "low"}],
)
def test_what_is_no_metric_is_refused(metrics: dict[str, Any], tmp_path: Path) -> None:
    trial = trial_in(tmp_path)
    with pytest.raises(BadMetric, match="metric"):
        trial.report(1, **metrics)
    with pytest.raises(BadMetric):
        trial.result(metrics.get("loss", {}))
    assert not (tmp_path / "reports.jsonl").exists()


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    trial_in(tmp_path).report(np.int64(1), loss=np.float32(0.5))  # type: ignore[arg-type]
    line = json.loads((tmp_path / "reports.jsonl").read_text())
    assert (line["step"], line["metrics"]) == (1, {"loss": 0.5})


def test_mistakes_in_a_report_are_told_and_nothing_is_written(tmp_path: Path) -> None:
    trial = trial_in(tmp_path)
    with pytest.raises(TypeError, match=r"whole number, got 1\.5"):
        trial.report(1.5, loss=1)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError, match=r"no checkpoint .*write it before"):
        trial.report(1, loss=1, checkpoint=tmp_path / "gone")
    with pytest.raises(ValueError, match=f"{LINE_BYTES} bytes at most"):
        trial.report(1, **{"m" * LINE_BYTES: 1})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'infeasable' is no failure kind; did you mean infeasible"):
        trial.fail("infeasable", "")  # type: ignore[arg-type]
    assert (tmp_path / "reports.jsonl").read_text() == ""
    trial.report(1, loss=1)
    assert (tmp_path / "reports.jsonl").read_text().count("\n") == 1
