"""Every hook does on the engine what it does in a local run."""

import asyncio
from pathlib import Path
from typing import NamedTuple

import pytest
from pydantic import JsonValue

from metta.sweep.contracts.shelves import Folder
from metta.sweep.pipeline.hooks import HOOKS
from tests.rig import Rig
from tests.workflows.ends import End, ended, local_end, started
from tests.workflows.hooked import HOOKINGS, Hooked, notes

INPUT: JsonValue = {"value": 1.0, "tries": []}


class Told(NamedTuple):
    """How an experiment ended, and what its hook has seen."""

    end: End
    seen: list[str]


def hooked(hook: str) -> list[Hooked]:
    """The experiments with a hook: one that it has an effect on, and one that it fails."""
    return [Hooked(hook=hook, wrong=wrong) for wrong in (False, True) if HOOKINGS[hook][wrong]]


def here(experiment: Hooked, folder: Path) -> Told:
    return Told(local_end(experiment, INPUT, Folder(folder)), seen(""))


async def there(rig: Rig, experiment: Hooked) -> Told:
    handle = await started(rig, experiment, INPUT)
    return Told(await ended(rig, experiment, handle), seen(handle.id))


def seen(experiment: str) -> list[str]:
    """What the hook of an experiment has noted since this was last asked for."""
    file = notes(experiment)
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return lines


def test_every_hook_has_its_experiments() -> None:
    assert list(HOOKINGS) == list(HOOKS)


@pytest.mark.parametrize("hook", HOOKINGS)
def test_only_a_wrong_hook_fails_its_stage_or_is_counted(hook: str, tmp_path: Path) -> None:
    for experiment in hooked(hook):
        end, _ = here(experiment, tmp_path)
        counted = [name for outcome in end.outcomes.values() for name in outcome.failed_hooks]
        assert (end.failure is not None or counted == [hook]) == experiment.wrong, end


@pytest.mark.timeout(180)  # some ninety experiments
async def test_every_hook_does_on_the_engine_what_it_does_in_this_process(
    testing_rig: Rig, tmp_path: Path
) -> None:
    experiments = [experiment for hook in HOOKINGS if hook != "debug" for experiment in hooked(hook)]
    for _ in range(2):  # the second time some outputs are cached
        told = await asyncio.gather(*(there(testing_rig, experiment) for experiment in experiments))
        local = [here(experiment, tmp_path / "local") for experiment in experiments]
        assert dict(zip(experiments, told, strict=True)) == dict(zip(experiments, local, strict=True))


async def test_a_debug_hook_is_called_only_in_this_process(testing_rig: Rig, tmp_path: Path) -> None:
    right, wrong = hooked("debug")
    ends = [here(right, tmp_path / "local"), here(wrong, tmp_path / "local")]
    assert [told.seen for told in ends] == [["Score(value=2.0, tries=[])"], []]
    assert [told.end.outcomes["score"].failed_hooks for told in ends] == [{}, {"debug": 1}]
    left_out = Told(ends[0].end, [])
    assert [await there(testing_rig, right), await there(testing_rig, wrong)] == [left_out, left_out]
