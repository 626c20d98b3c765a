"""What an executor hands to a job, and programs that run as jobs, for tests."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from metta.sweep.trial import REPORTS_VARIABLE, TRIAL_VARIABLE

LIMIT_S = 30

BEGIN = "from metta.sweep.trial import current_trial\ntrial = current_trial()\n"


class JobFiles:
    """The files of an attempt; by its environment, a program finds them."""

    def __init__(self, folder: Path, /, **told: Any) -> None:
        self.folder = folder
        self.file = folder / "trial.json"
        self.reports = folder / "reports.jsonl"
        folder.mkdir(parents=True)
        defaults = {
            "params": {"lr": 0.1},
            "number": 3,
            "seed": 7,
            "attempt": 1,
            "folder": str(folder),
            "checkpoint_dir": str(folder / "checkpoints"),
            "resume_from": None,
            "until_step": None,
        }
        self.file.write_text(json.dumps(defaults | told), "utf-8")

    def script(self, program: str, begin: str = BEGIN) -> list[str]:
        """The command that runs a program in Python, to which ``trial`` is known."""
        file = self.folder / "program.py"
        file.write_text(f"{begin}{program}\n", "utf-8")
        return [sys.executable, str(file)]

    def run(self, command: Sequence[str | Path], **env: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command, env=self.environment | env, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )

    @contextmanager
    def started(self, command: Sequence[str | Path], **env: str) -> Iterator["subprocess.Popen[str]"]:
        """A process group of its own that is gone at the end."""
        pipe = subprocess.PIPE
        with subprocess.Popen(
            command,
            env=self.environment | env,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    @property
    def environment(self) -> dict[str, str]:
        named = {TRIAL_VARIABLE: str(self.file), REPORTS_VARIABLE: str(self.reports)}
        return os.environ | named | {"PYTHONPATH": os.pathsep.join(sys.path)}

    @property
    def lines(self) -> list[dict[str, Any]]:
        lines = self.reports.read_text("utf-8").splitlines() if self.reports.exists() else []
        return [json.loads(line) for line in lines]

    @property
    def steps(self) -> list[int]:
        return [line["step"] for line in self.lines]
