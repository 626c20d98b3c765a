"""The programs on the page of jobs are jobs, and do what the page says."""

import re
import subprocess
from pathlib import Path

from markdown_it import MarkdownIt

from metta.sweep.contracts.attempts import Attempt
from metta.sweep.contracts.jobs import REPORTS_VARIABLE, TRIAL_VARIABLE, Job, JobSpec
from metta.sweep.executors.local import LocalExecutor
from tests.job import JobFiles

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/reference/jobs.md"
EXAMPLE = ROOT / "examples/jobs/parabola.sh"


def blocks(language: str) -> list[str]:
    tokens = MarkdownIt().parse(PAGE.read_text("utf-8"))
    return [token.content for token in tokens if token.type == "fence" and token.info == language]


def test_the_shell_program_is_the_example() -> None:
    assert blocks("sh") == [EXAMPLE.read_text("utf-8")]


def test_the_python_program_does_what_the_shell_program_does(tmp_path: Path) -> None:
    [program] = blocks("python")
    in_shell = JobFiles(tmp_path / "sh", params={"x": 0.1})
    assert in_shell.run([EXAMPLE]).returncode == 0
    before = JobFiles(tmp_path / "before", params={"x": 0.1}, until_step=2)
    done = before.run(before.script(program, begin=""))
    assert (done.returncode, done.stderr) == (75, "")
    after = JobFiles(
        tmp_path / "after", params={"x": 0.1}, resume_from=before.lines[-1]["checkpoint"], step=2
    )
    assert after.run(after.script(program, begin="")).returncode == 0
    expected = [(line["step"], line["metrics"]) for line in in_shell.lines]
    assert [(line["step"], line["metrics"]) for line in before.lines + after.lines] == expected


def test_trying_it_by_hand_goes_as_shown(tmp_path: Path) -> None:
    [session] = blocks("console")
    commands = [line.removeprefix("$ ") for line in session.splitlines() if line.startswith("$ ")]
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    printed = subprocess.check_output(["sh", "-euc", "\n".join(commands)], cwd=tmp_path, text=True)
    assert printed == "".join(line for line in session.splitlines(keepends=True) if not line.startswith("$ "))


def test_the_page_names_every_key_that_a_job_is_told(tmp_path: Path) -> None:
    attempt = Attempt(trial=0, params={}, seed=0, folder=str(tmp_path))
    request = LocalExecutor().build_request(
        JobSpec(sweep_id="s", job=Job(command=("true",)), attempt=attempt)
    )
    section = PAGE.read_text("utf-8").partition("## What it is told")[2].partition("\n## ")[0]
    named = {
        key for row in re.findall(r"^\| (`.*?) \|", section, re.M) for key in re.findall(r"`(\w+)`", row)
    }
    assert named == {*request.trial, TRIAL_VARIABLE, REPORTS_VARIABLE}
