"""Experiments and pipelines on a real server, in whatever form they are defined."""

import subprocess
import sys
from pathlib import Path
from threading import Lock
from time import sleep

import pytest

from metta.sweep import DefinitionError, StageFailed, SweepFailed, Uniform
from metta.sweep.contracts.errors import NameInUse, SweepEnded, SweepNotFound
from metta.sweep.experiments import Experiment, SweepExperiment
from metta.sweep.experiments.base import Pipeline
from tests.experiments import stages
from tests.experiments.stages import Add, Sum, pipeline

EVERY_FORM = """\
import sys
from typing import NamedTuple
from metta.sweep.experiments import Experiment
from metta.sweep.experiments.base import Pipeline

class Sum(NamedTuple):
    total: float

def add(x: float) -> Sum:
    return Sum(x + 1)

class Add(Experiment):
    more: float = 1.0

    def pipeline(self) -> Pipeline[Sum]:
        return Pipeline().stage("add", self.add).through(Sum)

    def add(self, x: float) -> Sum:
        return Sum(x + self.more)

named = Pipeline().stage("add", add).through(Sum)

if __name__ == "__main__":
    guarded = Pipeline().stage("add", add).stage("half", lambda s: Sum(s.total / 2)).through(Sum)
    for run in (Add(more=2).run, named.run, guarded.run, Pipeline().stage("add", add).run):
        got = run(5.0)
        assert type(got) is Sum, got
        print(got.total, flush=True)
    named = guarded  # what the variable was bound to before is not run again
    print(named.run(5.0).total)
"""

UNGUARDED = """\
from metta.sweep.experiments.base import Pipeline

print("importing")
pipeline = Pipeline().stage("add", lambda x: x + 1)
print(pipeline.run(1))
"""


def python(script: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(script), *arguments], capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_form_is_found_by_other_processes(hosted: Path) -> None:
    (hosted / "forms.py").write_text(EVERY_FORM, "utf-8")
    assert python(hosted / "forms.py").split() == ["7.0", "6.0", "3.0", "6.0", "3.0"]


def test_an_unguarded_script_runs_once(hosted: Path) -> None:
    (hosted / "unguarded.py").write_text(UNGUARDED, "utf-8")
    assert python(hosted / "unguarded.py") == "importing\n2\n"


def test_a_stage_that_failed_goes_on_where_it_failed(
    hosted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = hosted / "gate"
    flow = (
        Pipeline()
        .stage("first", stages.noted)
        .stage("second", lambda x: x + len(Path("gate").read_text("utf-8")))
    )
    with pytest.raises(StageFailed, match="stage second failed: FileNotFoundError") as caught:
        flow.run(1, name="gated")
    assert caught.value.failure.stage == "second"
    gate.write_text("ab", "utf-8")
    assert flow.run(1, name="gated", resume=True) == 3
    assert (hosted / "notes").read_text("utf-8") == "noted\n"
    err = capsys.readouterr().err
    assert "\nfirst  done  " in err
    assert "\nsecond  failed  FileNotFoundError: " in err
    assert "\ncompleted: 2 stages in " in err


def test_a_name_is_used_once_among_experiments_and_sweeps(hosted: Path) -> None:
    sweep = SweepExperiment("mine.py:train", {"x": Uniform(0, 1)}, metric="accuracy")
    sweep.run(1, debug=True, name="sweep")
    assert Add(more=2).run(1.0, name="add") == Sum(3.0)
    with pytest.raises(NameInUse, match="'add' is in use; continue that experiment with resume=True"):
        pipeline.run(name="add")
    for resume in (True, False):
        with pytest.raises(NameInUse, match="'sweep' is in use by a sweep; choose another name"):
            pipeline.run(name="sweep", resume=resume)
        with pytest.raises(NameInUse, match="'add' is in use by an experiment; choose another name"):
            sweep.run(1, name="add", resume=resume)
    with pytest.raises(
        DefinitionError, match=r"the experiment add:\n- more was 2\.0, and is 3\.0\n- another"
    ):
        Add(more=3).run(name="add", resume=True)
    with pytest.raises(DefinitionError, match="what flows into its first stage is another value than it was"):
        Add(more=2).run(2.0, name="add", resume=True)
    assert Add(more=2).run(1.0, name="add", resume=True) == Add.attach("add").result() == Sum(3.0)
    with pytest.raises(SweepNotFound, match="there is no experiment 'ad' here; did you mean add"):
        Pipeline().attach("ad")


def test_what_serialize_made_is_read_by_the_declared_type_whoever_reads_it(hosted: Path) -> None:
    assert stages.Grow(weight=1.5).run(name="grown").weight == 1.5
    assert stages.Grow.attach("grown").result().weight == 1.5
    assert stages.Grow(weight=1.5).pipeline().attach("grown").result().weight == 1.5
    assert Experiment.attach("grown").result() == '{"weight": 1.5}'


def test_what_a_stage_raised_is_the_cause_of_its_failure(hosted: Path) -> None:
    with pytest.raises(StageFailed, match="stage unlucky failed: KeyError: 7") as caught:
        Pipeline().stage("unlucky", stages.unlucky).run(7)
    assert isinstance(caught.value.__cause__, KeyError)
    assert caught.value.__cause__.args == (7,)


def test_an_experiment_that_is_a_stage_takes_what_flows_in(hosted: Path) -> None:
    assert stages.twice.run_local(1.0) == stages.twice.run(1.0) == Sum(6.0)


def test_mistakes_are_told_before_anything_starts(project: Path) -> None:
    with pytest.raises(DefinitionError, match="name 'a b' has to be letters, digits"):
        Add().run(1.0, name="a b")
    with pytest.raises(DefinitionError, match="the pipeline"):
        Pipeline().stage("one", stages.noted).stage("one", stages.noted).run(1)
    with pytest.raises(DefinitionError, match="the input: it cannot be sent: "):
        Add().run(Lock())
    assert not (project / ".metta-sweep/launches").exists()


def test_it_is_paused_resumed_and_stopped_between_stages(hosted: Path) -> None:
    handle = stages.gates.start(0, name="gates")
    while not [row for row in handle.status().rows if row.status == "running"]:
        sleep(0.05)
    assert handle.pause().state == "paused"
    assert handle.status().state == "paused"
    (hosted / "gate-0").touch()
    while handle.status().ended < 1:
        sleep(0.05)
    assert [row.stage for row in handle.status().rows] == ["zero"]
    assert handle.resume().state == "running"
    assert handle.stop().state == "stopping"
    (hosted / "gate-1").touch()
    with pytest.raises(SweepFailed, match="gates was stopped before its end; run it again with resume=True"):
        handle.result()
    with pytest.raises(SweepEnded, match="gates is over"):
        handle.pause()
    status = handle.status()
    assert (status.state, status.reason) == ("finished", "stopped")
    (hosted / "gate-2").touch()
    (hosted / "gate-1").touch()
    assert stages.gates.run(name="gates", resume=True) == 3
