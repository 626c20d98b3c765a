"""What the command says of experiments."""

import json
import sys
from collections.abc import Mapping, Sequence
from pprint import pformat
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from rich.text import Text

from metta.sweep.cli.output import Output
from metta.sweep.cli.shapes import ExperimentChanged, ExperimentShown, Given
from metta.sweep.client.settings import Settings
from metta.sweep.client.stage_lines import table_of_rows
from metta.sweep.client.stages import Stages, all_rows, stages_of
from metta.sweep.client.trees import within_of
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.experiments import ExperimentControl, ExperimentStatus
from metta.sweep.contracts.names import is_of_a_trial
from metta.sweep.contracts.values import INLINE_BYTES, Value
from metta.sweep.contracts.wording import budget_text

if TYPE_CHECKING:
    from metta.sweep.client.experiment_handle import ExperimentHandle
    from metta.sweep.experiments.experiment import Experiment
    from metta.sweep.experiments.script import Runnable
    from metta.sweep.pipeline.builder import Pipeline

ROWS = 50
"""So many of the latest stages are shown; machines get all."""

STATES = {
    "paused": "is paused; running stages come to their end",
    "stopping": "is being stopped; running stages come to their end",
    "running": "goes on",
}


class ExperimentOutput(Output["ExperimentHandle"]):
    """Prints what a command found out about an experiment."""

    def followed(self, handle: "ExperimentHandle") -> None:
        """Show which stages have ended until all have, and then what the last one gave."""
        from metta.sweep.client.following import followed_experiment

        result = followed_experiment(handle)
        self.value(handle.value_of(result), result.value, handle)

    def shown(self, handle: "ExperimentHandle", as_recorded: bool = False) -> None:
        """Where it stands, its stages, and what to do next."""
        stages = stages_of(handle.log)
        status = handle.status_of(stages, as_recorded)
        rows = [*all_rows(handle.log), *(row for row in status.rows if row.status == "running")]
        if self._json:
            self._print_experiment(handle, status.model_copy(update={"rows": tuple(rows)}))
            return
        verb = "has" if status.state == "failed" else "is"
        stopped = ": it was stopped" if status.reason == "stopped" else ""
        self._say(Text.assemble((handle.name, "bold"), f" {verb} {status.state}{stopped}"))
        self._say(stages.summary())
        if status.control.budget.is_limited:
            self._say(f"budget of all its sweeps together: {budget_text(status.control.budget)}")
        if status.state == "failed":
            self._say(Text(status.reason, style="yellow"))
        if within := within_of(handle.name, Settings.load()):
            self._say(f"within it: {len(within)}; `sweep show {handle.name} --tree` shows them")
        if rows:
            self._say("")
            self._say(table_of_rows(rows[-ROWS:]))
        if len(rows) > ROWS:
            self._say(Text(f"not shown: {len(rows) - ROWS} earlier stages", style="dim"))
        self._next(_what_next(handle, status, stages), handle.ui)

    def brief(self, handle: "ExperimentHandle") -> None:
        """What to do next, where all else has been said."""
        stages = stages_of(handle.log)
        status = handle.status_of(stages)
        if self._json:
            self._print_experiment(handle, status)
        else:
            self._next(_what_next(handle, status, stages), handle.ui)

    def value(self, value: Any, packed: Value | None, handle: "ExperimentHandle | None" = None) -> None:
        """What an experiment gave, alone on standard output; what to do next stands elsewhere."""
        if self._json:
            name, ui = (handle.name, handle.ui) if handle else ("", "")
            self._print(Given(experiment=name, ui=ui, value=packed))
            return
        print(value if hasattr(value, "summary") else pformat(value, sort_dicts=False))
        if handle:
            next_command = f"next: sweep show {handle.name}" + (f"   UI: {handle.ui}" if handle.ui else "")
            print(next_command, file=sys.stderr)

    def control(self, name: str, control: BaseModel) -> None:
        """What is now wanted of it."""
        assert isinstance(control, ExperimentControl)
        if self._json:
            self._print(ExperimentChanged(experiment=name, **dict(control)))
            return
        is_shared = control.state == "running" and control.budget.is_limited
        shared = f" with the budget {budget_text(control.budget)}" if is_shared else ""
        self._say(f"{name} {STATES[control.state]}{shared}")
        self._next(f"sweep resume {name}" if control.state == "paused" else f"sweep show {name}")

    def _print_experiment(self, handle: "ExperimentHandle", status: ExperimentStatus) -> None:
        self._print(ExperimentShown(experiment=handle.name, ui=handle.ui, **dict(status)))


def _what_next(handle: "ExperimentHandle", status: ExperimentStatus, stages: Stages) -> str:
    if status.state == "paused":
        return f"sweep resume {handle.name}"
    if status.state in ("running", "stopping") or status.reason == "completed":
        return f"sweep attach {handle.name}"
    if stages.began is None:
        return f"sweep run FILE --name {handle.name} --resume"
    root = handle.name.split("/")[0]  # what is a part of another one goes on with that
    return f"sweep {'show' if is_of_a_trial(handle.name) else 'retry'} {root}"


def fields_from(given: Sequence[str]) -> dict[str, Any]:
    """Fields as they are given on a command line: JSON where it is JSON, else text.

    >>> fields_from(["threshold=0.8", "name=digits", "sizes=[1, 2]"])
    {'threshold': 0.8, 'name': 'digits', 'sizes': [1, 2]}

    Raises:
        DefinitionError: When one has no name or no value.
    """
    pairs = [text.partition("=") for text in given]
    if problems := [f"write NAME=VALUE, got {''.join(pair)!r}" for pair in pairs if not all(pair[:2])]:
        raise DefinitionError(problems, "--set")
    return {name: _json_or_text(text) for name, _, text in pairs}


def options_for(experiment: "Runnable", given: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a run from those of the command line.

    Raises:
        DefinitionError: When they are not for an experiment of this kind, or an input is none.
    """
    from metta.sweep.experiments.sweep import SweepExperiment

    if isinstance(experiment, SweepExperiment):
        _refuse("input", "a sweep has no input", given)
        return given
    return {**given, "input": _input(experiment, given["input"])} if "input" in given else given


def _refuse(name: str, why: str, given: Mapping[str, Any]) -> None:
    if name in given:
        raise DefinitionError([f"--{name} is given, but {why}"], "the arguments")


def packed(value: Any) -> Value:
    """A value as machines read it."""
    from metta.sweep.client.packing import packer_of

    return packer_of(Settings.load()).kept(value, INLINE_BYTES)


def _input(experiment: "Experiment | Pipeline[Any]", text: str) -> Any:
    from metta.sweep.pipeline.builder import Pipeline

    try:
        plain = json.loads(text)
    except ValueError as error:
        raise DefinitionError([f"it has to be JSON, got {text!r}: {error}"], "--input") from None
    pipeline = experiment if isinstance(experiment, Pipeline) else experiment.checked()
    return pipeline.definition.input_from(plain)


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
