"""A worker that is replaced by one with newer code, which does what is left to do."""

import os
import signal
from pathlib import Path

import pytest

from tests.crash.projects import Project

CODE = """
from time import sleep
from metta.sweep import Uniform
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment

def train(params):
    sleep(0.1)
    return {{"accuracy": params["x"], "version": {version}}}

sweep = SweepExperiment(train, {{"x": Uniform(0, 1)}}, executor=LocalExecutor(1), metric="accuracy")
"""

BUDGET = 20


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_it_takes_over(here: Project, how: signal.Signals) -> None:
    script = Path("mine.py")
    script.write_text(CODE.format(version=1), "utf-8")
    evidence = here.evidence("mine")
    with here.beginning("run", "mine.py", "--name", "mine", "--budget", f"{BUDGET}") as client:
        evidence.wait_until(lambda: evidence.table().counts.completed >= 3)
        script.write_text(CODE.format(version=2), "utf-8")
        [worker] = here.workers("mine")
        os.kill(worker, how)
        client.communicate()  # it sets going again what has ended, and follows to the end
    versions = [record.metrics["version"] for record in evidence.table().records]
    assert len(versions) == BUDGET
    assert versions == sorted(versions)
    assert {1.0, 2.0} == set(versions)
    assert evidence.epochs() == 2
