"""kill -9 at random moments of long sweeps with every optimizer and every scheduler of the registries.

``make soak`` kills two hundred times; ``METTA_SWEEP_TEST_KILLS`` says how often.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from time import monotonic, sleep
from typing import Any, NamedTuple

import pytest
from rich.console import Console
from rich.table import Table

from metta.sweep.client.sweeps import Sweeps
from metta.sweep.experiments import SweepExperiment
from metta.sweep.optimizers import BayesianOptimizer, OptunaOptimizer, RandomOptimizer
from metta.sweep.optimizers.base import Optimizer
from metta.sweep.optimizers.registry import OPTIMIZERS
from metta.sweep.schedulers import (
    ASHAScheduler,
    AsynchronousScheduler,
    MedianStoppingScheduler,
    SynchronousBatchScheduler,
)
from metta.sweep.schedulers.base import Scheduler
from metta.sweep.schedulers.registry import SCHEDULERS
from tests.crash.conftest import told
from tests.crash.evidence import Evidence, Story
from tests.crash.projects import Project, kill
from tests.crash.training import RUNGS, experiment, train

KILLS = int(os.environ.get("METTA_SWEEP_TEST_KILLS", "10"))

OPTIMIZERS_MADE: dict[str, Callable[[], Optimizer]] = {
    "bayesian": BayesianOptimizer,
    "optuna": partial(OptunaOptimizer, sampler="TPE"),
    "random": RandomOptimizer,
}
SCHEDULERS_MADE: dict[str, Callable[[], Scheduler]] = {
    "asha": partial(ASHAScheduler, max_epochs=RUNGS[-1], grace_period=RUNGS[0], reduction_factor=2),
    "asynchronous": AsynchronousScheduler,
    "batch": partial(SynchronousBatchScheduler, batch_size=3),
    "median": partial(MedianStoppingScheduler, grace_period=RUNGS[0]),
}

FEWEST = max(len(OPTIMIZERS), len(SCHEDULERS))

PAIRS = [
    *dict.fromkeys(
        ([*OPTIMIZERS][n % len(OPTIMIZERS)], [*SCHEDULERS][(n + turn) % len(SCHEDULERS)])
        for turn in range(len(SCHEDULERS))
        for n in range(FEWEST)
    )
]
"""Each with each, in an order of which the first few hold all of both kinds."""

SWEEPS = PAIRS if 2 * len(PAIRS) <= KILLS else PAIRS[:FEWEST]
EACH = -(-KILLS // len(SWEEPS))
"""Kills of a sweep."""

BUDGET = max(8, 3 * EACH)
"""So many trials are under way for long enough to be disturbed so often."""

PATIENCE_S = 60.0


class Survived(NamedTuple):
    """What a sweep went through.

    Args:
        optimizer: Its optimizer.
        scheduler: Its scheduler.
        killed: How often whom.
        reports: How many reports are recorded.
        sessions: How many sessions worked on it.
        seconds: How long it took.
    """

    optimizer: str
    scheduler: str
    killed: Counter[str]
    reports: int
    sessions: int
    seconds: float


@pytest.fixture(scope="module")
def survived(request: pytest.FixtureRequest) -> Iterator[list[Survived]]:
    """All sweeps that came through; they are printed at the end."""
    found: list[Survived] = []
    yield found
    capture: Any = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print_table(found)


def print_table(found: list[Survived]) -> None:
    kinds = ("worker", "server", "runner", "client")
    table = Table("optimizer", "scheduler", *kinds, "reports", "sessions", "seconds")
    for one in found:
        counts = [str(one.killed[kind]) for kind in kinds]
        ends = [str(one.reports), str(one.sessions), f"{one.seconds:.0f}"]
        table.add_row(one.optimizer, one.scheduler, *counts, *ends)
    total = sum(sum(one.killed.values()) for one in found)
    table.caption = f"{total} kills in {len(found)} sweeps; nothing recorded was lost or done again"
    print()  # behind the dots
    Console(width=110).print(table)


def test_every_optimizer_and_every_scheduler_is_among_them() -> None:
    assert OPTIMIZERS_MADE.keys() == OPTIMIZERS.keys()
    assert SCHEDULERS_MADE.keys() == SCHEDULERS.keys()
    assert {optimizer for optimizer, _ in SWEEPS} == OPTIMIZERS.keys()
    assert {scheduler for _, scheduler in SWEEPS} == SCHEDULERS.keys()
    assert len({*PAIRS}) == len(OPTIMIZERS) * len(SCHEDULERS)


@pytest.mark.timeout(120 + 30 * EACH)
@pytest.mark.parametrize(("optimizer", "scheduler"), SWEEPS)
def test_nothing_recorded_is_lost_or_done_again(
    here: Project, tmp_path: Path, survived: list[Survived], optimizer: str, scheduler: str
) -> None:
    sweep = experiment(train, optimizer=OPTIMIZERS_MADE[optimizer](), scheduler=SCHEDULERS_MADE[scheduler]())
    story = told(sweep, BUDGET, tmp_path / "undisturbed")
    began = monotonic()
    sweep.start(BUDGET, name="soaked")
    evidence = here.evidence("soaked")
    killed = disturbed(here, evidence, story, Random(f"{optimizer}/{scheduler}/{KILLS}"))
    assert SweepExperiment.attach("soaked").result().progress.counts.started == len(story)
    evidence.assert_sound()
    assert evidence.story() == story
    assert killed.total() >= 0.7 * EACH, "most of the moments came in time"
    seconds = monotonic() - began
    reports, sessions = evidence.reports(), evidence.epochs()
    survived.append(Survived(optimizer, scheduler, killed, reports, sessions, seconds))


def disturbed(here: Project, evidence: Evidence, story: Story, rng: Random) -> Counter[str]:
    """Kill at moments spread over a sweep, until it is over; how often whom.

    Nothing that was recorded at a kill is gone at the end.
    """
    total = sum(len(trial.reports) for trial in story)
    killed, before = Counter[str](), list[bytes]()
    for n in range(EACH):
        due = int(total * (n + 0.9 * rng.random()) / EACH)
        evidence.wait_until(partial(_has_come, evidence, due), PATIENCE_S)
        with here.beginning("attach", evidence.name) as client:
            sleep(rng.uniform(0.0, 0.3))
            victims: dict[str, Callable[[], list[int]]] = {
                "worker": partial(here.workers, evidence.name),
                "server": here.server,
                "runner": partial(here.runners, evidence.name),
                "client": lambda client=client: [client.pid],  # type: ignore[misc]
            }
            who = rng.choice([*victims])
            evidence.wait_until(partial(_is_there, evidence, victims[who]), PATIENCE_S)
            pids = victims[who]()
            if evidence.has_ended() or not pids:
                continue
            kill(*pids)
            killed[who] += 1
            before.append(evidence.recorded())
        Sweeps()  # any command sets going again what was killed
    evidence.wait_until(evidence.has_ended, PATIENCE_S + 2 * BUDGET)
    evidence.assert_kept(*before)
    return killed


def _has_come(evidence: Evidence, due: int) -> bool:
    return evidence.reports() >= due or evidence.has_ended()


def _is_there(evidence: Evidence, victims: Callable[[], list[int]]) -> bool:
    """Whether there is somebody to kill; nobody is needed any more when it is over."""
    return bool(victims()) or evidence.has_ended()
