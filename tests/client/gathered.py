"""Stores that hold garbage: real sweeps and values, and what killed programs leave beside them."""

import json
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from time import time
from typing import Any

import pytest

import metta.sweep.stores.workplaces as deleting
from metta.sweep import Trial, Uniform
from metta.sweep.client.collecting import Collected
from metta.sweep.client.settings import Settings
from metta.sweep.client.sweeps import Sweeps
from metta.sweep.contracts.outcomes import Began, Finished, Line
from metta.sweep.contracts.values import Value
from metta.sweep.experiments import SweepExperiment
from metta.sweep.pipeline.packing import Packer
from metta.sweep.schedulers import ASHAScheduler
from metta.sweep.stores.data import DataStore
from metta.sweep.stores.files import FileStore

STEPS = 9
BIG = list(range(2000))


def train(trial: Trial) -> None:
    """Learns from checkpoint to checkpoint; each fourth trial fails behind their first step."""
    step, total = json.loads(trial.resume_from.read_text("utf-8")) if trial.resume_from else (0, 0.0)
    while step < STEPS:
        step, total = step + 1, total + trial.params["x"]
        checkpoint = trial.checkpoint_dir / f"step-{step}.json"
        checkpoint.write_text(json.dumps([step, total]), "utf-8")
        trial.report(step, acc=total / step, checkpoint=checkpoint)
        if step == 1 and trial.number % 4 == 3:
            (trial.checkpoint_dir / "torn").touch()
            raise ValueError("no luck today")


def halving(store: Path, trials: int, name: str = "s", seed: int = 1, resume: bool = False) -> None:
    """A sweep whose trials pause, are promoted, and fail; it runs in this process."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("METTA_SWEEP_STORE", str(store))
        SweepExperiment(
            train,
            {"x": Uniform(0, 1)},
            metric="acc",
            seed=seed,
            name=name,
            scheduler=ASHAScheduler(max_epochs=STEPS, reduction_factor=3),
            max_failures=1000,
        ).run(trials, debug=True, resume=resume)


def undeleted(store: Path, trials: int, name: str = "s", **more: int) -> None:
    """The same, and each session is killed before it has deleted anything."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(deleting, "deleted", lambda path: None)
        halving(store, trials, name, **more)  # type: ignore[arg-type]  # resume is a bool


def packer(store: FileStore) -> Packer:
    return Packer(DataStore(store.root), pickle=True)


def kept(store: FileStore, value: Any) -> Value:
    """A value that does not travel inline."""
    found = packer(store).kept(value, 0)
    assert found.kept
    return found


def blob(store: FileStore, value: Value) -> Path:
    return DataStore(store.root).path(str(value.kept))


def recorded(store: FileStore, name: str, *values: Value) -> None:
    """An experiment that has given values and ended."""
    began = Began(recorded=1.0, run="r", experiment="m:f", fingerprint="f", input=values[0])
    ends = [Finished(recorded=2.0, reason="completed", value=value) for value in values]
    log = store.outcome_log(name)
    log.commit(Line(n=0, writer="w", entries=(began, *ends)))
    log.close()


def aged(store: FileStore, days: float = 2.0) -> None:
    """So long ago everything in it was written."""
    then = time() - timedelta(days=days).total_seconds()
    for path in files(store.root):
        os.utime(path, (then, then), follow_symlinks=False)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if not path.is_dir())


def names(folder: Path) -> list[str]:
    """All that lies there, without what tells nothing."""
    return [
        path.relative_to(folder).as_posix()
        for path in files(folder)
        if path.name not in ("gc.lock", ".gitignore", "ledger.jsonl")
    ]


def collect(store: FileStore, *sweeps: str, delete: bool = True, **more: timedelta) -> Collected:
    return Sweeps(Settings(store.root)).gc(*sweeps, delete=delete, **more)


def counts(found: Collected) -> dict[str, int]:
    return {share.kind: share.count for share in found.garbage}


def paths(found: Collected) -> Iterator[str]:
    for share in found.garbage:
        yield from share.paths
