"""Lines of the log: what they say, and in which format."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.client.settings import Settings
from metta.sweep.contracts.attempts import AttemptKey
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.telemetry.logs import configure_logs, formatter
from metta.sweep.telemetry.scopes import names_of_attempt, scope
from tests.telemetry.conftest import program

JOBS = """\
from metta.sweep import Job, RetryPolicy, Uniform
from metta.sweep.experiments import SweepExperiment

job = Job(command=["sh", "-c", "exit 4"])
retry = RetryPolicy(max_attempts=1)
sweep = SweepExperiment(job, {"x": Uniform(0, 1)}, metric="score", seed=1, name="logged", retry=retry)
if __name__ == "__main__":
    try:
        sweep.run(budget=1)
    except Exception as error:
        print(error)
"""

PIPELINE = """\
import logging

from metta.sweep.experiments.base import Pipeline


def load() -> int:
    logging.getLogger("mine").info("%d rows", 3)
    return 3


Pipeline().stage("load", load).run(name="staged")
"""


def lines(path: Path) -> list[dict[str, Any]]:
    """All lines of a log, each of which has to be JSON."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("mine", logging.INFO, "file.py", 1, message, arguments, None)
    made.__dict__.update(extra)
    return made


def test_every_line_of_a_worker_is_json_and_says_what_it_is_about(project: Path) -> None:
    program(project, JOBS, {"METTA_SWEEP_LOG": "json", "METTA_SWEEP_LOG_LEVEL": "debug"})
    told = lines(project / ".metta-sweep/launches/logged.log")
    assert all({"timestamp", "level", "logger", "event"} <= line.keys() for line in told)
    assert [line["event"] for line in told].count("serving the task queue logged") == 1
    [failed] = [line for line in told if line["event"].startswith("Completing activity as failed")]
    about = {name: failed[name] for name in ("sweep", "trial", "segment", "attempt", "level", "logger")}
    assert about == {
        "sweep": "logged",
        "trial": 0,
        "segment": 0,
        "attempt": 1,
        "level": "warning",
        "logger": "temporalio.activity",
    }
    assert failed["temporal"]["activity_type"] == "run_trial"
    assert "exited with code 4" in failed["exception"]


def test_lines_of_a_stage_say_which_stage_it_is(project: Path) -> None:
    program(project, PIPELINE, {"METTA_SWEEP_LOG": "json"})
    [log] = project.glob(".metta-sweep/experiments/staged/logs/load.txt")
    [line] = lines(log)
    assert (line["event"], line["logger"]) == ("3 rows", "mine")
    assert (line["experiment"], line["stage"]) == ("staged", "load")


def test_a_line_for_people_ends_with_what_it_is_about() -> None:
    with scope({"sweep": "digits"}), scope(names_of_attempt("digits", AttemptKey(7, 0, 2))):
        line = formatter(as_json=False).format(record("it is %s", "late"))
    assert line[20:] == "[info] it is late sweep=digits trial=7 segment=0 attempt=2"
    assert formatter(as_json=False).format(record("it is late"))[20:] == "[info] it is late"


def test_a_workflow_s_line_names_its_trial() -> None:
    details = {"workflow_type": "Trial", "workflow_id": "a/b/trial-3/seg-1/try-2", "run_id": "r"}
    line = json.loads(formatter(as_json=True).format(record("told", temporal_workflow=details)))
    assert (line["sweep"], line["trial"], line["segment"], line["attempt"]) == ("a/b", 3, 1, 2)
    assert line["temporal"] == details


def test_what_a_line_carries_need_not_be_json() -> None:
    line = json.loads(formatter(as_json=True).format(record("odd", path=Path("a"), name_of="é")))
    assert (line["path"], line["name_of"]) == ("PosixPath('a')", "é")


def test_wrong_formats_and_levels_are_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METTA_SWEEP_LOG", "xml")
    monkeypatch.setenv("METTA_SWEEP_LOG_LEVEL", "loud")
    with pytest.raises(DefinitionError) as raised:
        configure_logs()
    assert raised.value.problems == (
        "METTA_SWEEP_LOG has to be one of text, json, got 'xml'",
        "METTA_SWEEP_LOG_LEVEL has to be one of debug, info, warning, error, got 'loud'",
    )


def test_a_worker_with_a_wrong_format_ends_with_a_readable_error(server: Settings, project: Path) -> None:
    environment = {**os.environ, "METTA_SWEEP_LOG": "xml"}
    command = [sys.executable, "-m", "metta.sweep.worker"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "METTA_SWEEP_LOG has to be one of text, json, got 'xml'" in done.stderr
    assert "Traceback" not in done.stderr
