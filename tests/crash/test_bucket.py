"""Sweeps whose store lies in a bucket: they go as in a folder, whatever is killed, and on any machine."""

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from time import sleep
from uuid import uuid4

import pytest

from metta.sweep.client.results import table_of
from metta.sweep.client.sweeps import Sweeps
from metta.sweep.contracts.events import Reported
from metta.sweep.experiments import SweepExperiment
from metta.sweep.stores.files import FileStore
from metta.sweep.stores.ledgers import line_of
from metta.sweep.stores.s3 import S3Store
from tests.crash.evidence import Evidence, Stories
from tests.crash.projects import Project, kill
from tests.crash.test_job_kills import jobs
from tests.crash.training import halving
from tests.stores.weed import BUCKET, Weed, running_weed

BUDGET = 12
AWAY_S = 6.0


class BucketEvidence(Evidence):
    """What is left of a sweep in a bucket."""

    def __init__(self, name: str, store: S3Store) -> None:
        super().__init__(name, Path())
        self._store, self._ledger = store, store.ledger(name)
        self.folder = store.workplace(name).path

    def recorded(self) -> bytes:
        """The chunks as they would stand in a file."""
        return b"".join(line_of(chunk) for chunk in self._store.ledger(self.name).read())

    def _checkpoints(self) -> list[str]:
        kept = self._store.objects.listed(f"sweeps/{self.name}/trials/")
        names = (found.key.removeprefix(f"sweeps/{self.name}/") for found in kept)
        return [name for name in names if "/checkpoints/" in name]


@pytest.fixture
def own_weed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Weed]:
    """An S3 server of the test's own, which it may kill."""
    (tmp_path / "weed").mkdir()
    with running_weed(tmp_path / "weed") as weed:
        weed.lead_there(monkeypatch)
        yield weed


def at(weed: Weed, monkeypatch: pytest.MonkeyPatch, folder: Path) -> S3Store:
    """A store of the test's own, which is that of the project from here on."""
    prefix = f"tests/{uuid4().hex}"
    monkeypatch.setenv("METTA_SWEEP_STORE", f"s3://{BUCKET}/{prefix}")
    return S3Store(weed.objects(prefix), folder / ".metta-sweep")


@pytest.fixture
def store(weed: Weed, here: Project, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    return at(weed, monkeypatch, here.folder)


def test_a_sweep_goes_as_it_does_in_a_folder(
    here: Project, store: S3Store, undisturbed_halving: Stories
) -> None:
    results = halving.start(BUDGET, name="far").result()
    evidence = BucketEvidence("far", store)
    assert results.progress.counts.started == BUDGET
    evidence.assert_sound()
    assert evidence.story() == undisturbed_halving(BUDGET)
    assert FileStore(here.store).names() == []
    shown = json.loads(here.sweep("show", "far", "--json"))
    assert shown["progress"]["counts"]["started"] == BUDGET


@pytest.mark.timeout(180)
def test_on_another_machine_it_goes_on_from_copied_checkpoints(
    here: Project, store: S3Store, undisturbed_halving: Stories, tmp_path: Path
) -> None:
    halving.start(BUDGET, name="moved")
    before = BucketEvidence("moved", store)
    before.wait_for(15)
    kill(*here.minder(), *here.server(), *here.workers("moved"))
    here.store.rename(tmp_path / "gone")  # the next machine has nothing of it but what lies in the bucket
    gone = Evidence("moved", Path())
    gone.folder = tmp_path / "gone" / before.folder.relative_to(here.store)
    recorded = {(e.trial, e.step) for e in before.events() if isinstance(e, Reported)}
    assert halving.start(BUDGET, name="moved", resume=True).result().progress.counts.started == BUDGET
    after = BucketEvidence("moved", S3Store(store.objects, here.store))
    assert after.story() == undisturbed_halving(BUDGET)
    assert recorded.isdisjoint((key.trial, step) for key, step in after.steps())
    first = dict(reversed(after.steps()))
    assert max(first.values()) > 1, "nothing went on from a checkpoint of the other machine"
    assert len(gone.steps()) >= len(recorded)
    after.assert_only_needed_checkpoints()


@pytest.mark.timeout(240)
def test_neither_a_killed_worker_nor_a_killed_bucket_loses_anything(
    here: Project, own_weed: Weed, monkeypatch: pytest.MonkeyPatch, undisturbed_halving: Stories
) -> None:
    store = at(own_weed, monkeypatch, here.folder)
    halving.start(BUDGET, name="hunted")
    evidence, before, rng = BucketEvidence("hunted", store), [], Random(3)
    for number in range(6):
        evidence.wait_for(evidence.reports() + 3)
        before.append(evidence.recorded())
        if number % 2:
            own_weed.kill()
            sleep(rng.uniform(0.0, 1.0))
            own_weed.start()
        else:
            kill(*here.workers("hunted"))
            sleep(rng.uniform(0.0, 0.3))
            Sweeps()  # any command sets going again what was killed
    assert SweepExperiment.attach("hunted").result().progress.counts.started == BUDGET
    evidence.assert_kept(*before)
    evidence.assert_sound()
    assert evidence.story() == undisturbed_halving(BUDGET)


def test_trials_wait_for_a_bucket_that_is_away_and_are_not_begun_again(
    here: Project, own_weed: Weed, monkeypatch: pytest.MonkeyPatch, undisturbed_halving: Stories
) -> None:
    store = at(own_weed, monkeypatch, here.folder)
    handle = halving.start(BUDGET, name="away")
    evidence = BucketEvidence("away", store)
    evidence.wait_for(8)
    own_weed.kill()
    sleep(AWAY_S)
    own_weed.start()
    assert handle.result().progress.counts.started == BUDGET
    assert evidence.epochs() == 1
    assert {record.attempt for record in table_of(store.ledger("away")).records} == {1}
    assert evidence.story() == undisturbed_halving(BUDGET)


@pytest.mark.timeout(240)
def test_jobs_leave_their_reports_logs_and_checkpoints_in_the_bucket(
    here: Project, store: S3Store, undisturbed_halving: Stories
) -> None:
    handle = jobs.start(BUDGET, name="jobs")
    evidence = BucketEvidence("jobs", store)
    evidence.wait_for(5)
    kill(*here.workers("jobs"))
    Sweeps()
    assert handle.result().progress.counts.started == BUDGET
    evidence.assert_nothing_done_again()
    evidence.assert_only_needed_checkpoints()
    kept = [found.key for found in store.objects.listed("sweeps/jobs/trials/")]
    for trial in range(BUDGET):
        assert f"sweeps/jobs/trials/{trial}/seg-0/try-1/reports.jsonl" in kept
        assert f"sweeps/jobs/trials/{trial}/seg-0/try-1/log.txt" in kept
    assert evidence.story() == undisturbed_halving(BUDGET)


def test_a_store_that_cannot_be_is_told_before_anything_begins(
    here: Project, weed: Weed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METTA_SWEEP_STORE", "s3://nowhere/x")
    with here.beginning(*here.run("lost", 1)) as command:
        _, err = command.communicate()
    assert command.returncode == 1, err
    assert f"there is no bucket nowhere at {weed.url}" in err
    assert here.workers("lost") == []
