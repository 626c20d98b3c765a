"""What the command says of two experiments, or two sweeps, beside each other."""

import json
from collections.abc import Callable, Sequence

from rich.text import Text

from metta.sweep.cli.output import Printer
from metta.sweep.client.comparisons import (
    ExperimentComparison,
    ExperimentSide,
    Sameness,
    StageComparison,
    StageSide,
    SweepComparison,
    SweepSide,
)
from metta.sweep.client.leaderboards import Column, Columns
from metta.sweep.contracts.wording import budget_text, duration_text, value_text

ROWS = 50
"""Of more stages than these only those that differ are shown, and so many of them; machines get all."""

CELL = 60
"""Values of fields are cut to so many characters."""

NO_END = "no end recorded"

WORDS: dict[Sameness, str] = {"same": "the same", "other": "another one", "unknown": "not known"}


class DiffOutput(Printer):
    """Prints what differs."""

    def compared(self, comparison: ExperimentComparison | SweepComparison) -> None:
        """Print it."""
        if self._json:
            self._print(comparison)
        elif isinstance(comparison, SweepComparison):
            self._sweeps(comparison)
        else:
            self._experiments(comparison)

    def _experiments(self, comparison: ExperimentComparison) -> None:
        one, other = comparison.sides
        rows = [(title, cell(one), cell(other)) for title, cell in EXPERIMENT_ROWS.items()]
        if one.message or other.message:
            rows.insert(1, ("why", _first_line(one.message), _first_line(other.message)))
        rows += [(name, _json(a), _json(b)) for name, (a, b) in comparison.fields.items()]
        at_the_end = [(n, p) for n, p in comparison.final_fields.items() if comparison.fields.get(n) != p]
        rows += [(f"{name}, at the end", _json(a), _json(b)) for name, (a, b) in at_the_end]
        self._say(_table(one.name, other.name, rows))
        self._say(f"\ninput: {WORDS[comparison.input]}; result: {WORDS[comparison.result]}")
        if comparison.structure:
            self._say("the pipelines differ:")
            for line in comparison.structure:
                self._say(Text(f"  {line}", style="red" if line.startswith("-") else "green"))
        else:
            self._say("the pipelines are the same")
        self._stages(comparison.stages)
        self._next(f"sweep show {other.name}")

    def _stages(self, stages: Sequence[StageComparison]) -> None:
        differing = [stage for stage in stages if not stage.is_same]
        told = stages if len(stages) <= ROWS else differing[:ROWS]
        if told:
            self._say("")
            self._say(_table_of_stages(told))
        if len(told) < len(stages):
            count = f"{len(stages) - len(told)} of {len(stages)} stages"
            self._say(Text(f"not shown: {count}, of which {len(differing)} differ", style="dim"))

    def _sweeps(self, comparison: SweepComparison) -> None:
        one, other = comparison.sides
        rows = [(title, cell(one), cell(other)) for title, cell in SWEEP_ROWS.items()]
        names = dict.fromkeys(name for side in comparison.sides if side.best for name in side.best.params)
        rows += [(f"best {name}", _param(one, name), _param(other, name)) for name in names]
        self._say(_table(one.name, other.name, rows))
        self._say("")
        for sentence in comparison.definition:
            self._say(sentence)
        if not comparison.definition:
            self._say("both search the same")
        self._next(f"sweep show {other.name}")


EXPERIMENT_ROWS: dict[str, Callable[[ExperimentSide], str]] = {
    "end": lambda side: side.reason or NO_END,
    "stages": lambda side: str(side.ended),
    "time": lambda side: "-" if side.seconds is None else duration_text(side.seconds),
    "seed": lambda side: "by its name" if side.seed is None else str(side.seed),
    "experiment": lambda side: side.experiment,
}

SWEEP_ROWS: dict[str, Callable[[SweepSide], str]] = {
    "end": lambda side: side.reason or NO_END,
    "budget": lambda side: budget_text(side.budget),
    "trials": lambda side: str(side.counts.started),
    "failed": lambda side: str(side.counts.failed),
    "metric": lambda side: side.metric or "-",
    "best": lambda side: value_text(side.best.value) if side.best else "-",
    "best trial": lambda side: str(side.best.trial) if side.best else "-",
}


def _table(one: str, other: str, rows: Sequence[tuple[str, str, str]]) -> Columns:
    titles = ("", one, other)
    return Columns([Column(title, [row[n] for row in rows], whole=True) for n, title in enumerate(titles)])


def _table_of_stages(stages: Sequence[StageComparison]) -> Columns:
    columns = [
        Column("stage", [stage.stage for stage in stages], whole=True),
        Column("status", [_both(stage, _status) for stage in stages]),
        Column("input", [_word(stage.input) for stage in stages]),
        Column("data", [_word(stage.data) for stage in stages]),
        Column("code", [_word(stage.code) for stage in stages]),
        Column("fields", [_word(stage.fields) for stage in stages]),
        Column("time", [_both(stage, _time) for stage in stages], whole=True),
        Column("attempts", [_both(stage, lambda side: str(side.attempts or "-")) for stage in stages]),
    ]
    if metrics := dict.fromkeys(
        name for stage in stages for side in stage.sides if side for name in side.metrics
    ):
        columns += [Column(name, [_both(stage, _metric(name)) for stage in stages]) for name in metrics]
    return Columns(columns)


def _both(stage: StageComparison, cell: Callable[[StageSide], str]) -> str:
    """What stands on both sides: once where that is the same."""
    one, other = ("-" if side is None else cell(side) for side in stage.sides)
    return one if one == other else f"{one} → {other}"


def _status(side: StageSide) -> str:
    return side.status


def _time(side: StageSide) -> str:
    if side.status in ("failed", "skipped"):
        return "-"
    return duration_text(side.seconds) if side.seconds >= 0.1 else f"{side.seconds * 1000:.0f} ms"


def _metric(name: str) -> Callable[[StageSide], str]:
    return lambda side: value_text(side.metrics[name]) if name in side.metrics else "-"


def _word(sameness: Sameness) -> str:
    return "-" if sameness == "unknown" else sameness


def _param(side: SweepSide, name: str) -> str:
    return value_text(side.best.params[name]) if side.best and name in side.best.params else "-"


def _first_line(message: str) -> str:
    return message.partition("\n")[0] or "-"


def _json(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= CELL else f"{text[: CELL - 1]}…"
