"""Results: how long it takes to make something of the trials of a large sweep that are in memory."""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from io import BytesIO
from random import Random
from time import process_time

from benchmarks.machine import markdown
from metta.sweep.client.results import Results
from metta.sweep.contracts.budgets import Control
from metta.sweep.contracts.decisions import Start
from metta.sweep.contracts.events import Completed, Created, Failed, Opened
from metta.sweep.contracts.failures import Failure
from metta.sweep.contracts.sweeps import SweepSpec
from metta.sweep.report.formats import FORMATS
from metta.sweep.report.trials import trial_rows
from metta.sweep.stores.trials import TrialTable

TRIALS = 100_000
PARAMS = 8
FAILING = 0.05


def table() -> str:
    """Time each of them once, in seconds of the processor: the machine may have other work."""
    for library in ("pandas", "plotly.graph_objects", "pyarrow.parquet", "metta.sweep.report.cards"):
        import_module(library)  # which takes longer than some of what is timed
    results = Results.of("large", recorded())
    uses: dict[str, Callable[[], object]] = {
        "`to_dataframe()`": results.to_dataframe,
        '`plot("history")`, without drawing it': results.plot,
        "what a notebook shows": results._repr_html_,
        **{f"`sweep export --format {name}`": partial(_written, results, name) for name in FORMATS},
    }
    rows = [[name, f"{seconds(use):.2f} s"] for name, use in uses.items()]
    return markdown([f"{TRIALS:,} trials of {PARAMS} parameters", "time"], rows)


def seconds(use: Callable[[], object]) -> float:
    """What a call takes of the processor."""
    began = process_time()
    use()
    return process_time() - began


def recorded() -> TrialTable:
    """What is known of a sweep of which every twentieth trial has failed."""
    names, random, found = [f"p{n}" for n in range(PARAMS)], Random(1), TrialTable()
    space = {name: {"type": "uniform", "low": 0, "high": 1} for name in names}
    spec = SweepSpec.model_validate({"objective": "m:f", "search_space": space, "metric": "loss"})
    found.apply(Created(at=0.0, spec=spec))
    found.apply(Opened(at=0.0, epoch=1, control=Control(run="run")))
    for trial in range(TRIALS):
        found.carry(Start(trial=trial, params={name: random.random() for name in names}, seed=trial))
        if random.random() < FAILING:
            failure = Failure(kind="user", message="ValueError: no luck")
            found.apply(Failed(at=float(trial), trial=trial, seconds=1.0, failure=failure))
        else:
            metrics = {"loss": random.random(), "size": 1.0}
            found.apply(Completed(at=float(trial), trial=trial, seconds=1.0, metrics=metrics))
    return found


def _written(results: Results, format: str) -> int:
    return FORMATS[format](trial_rows(results.table), BytesIO())
