from pathlib import Path
from typing import Any

import pytest

from metta.sweep.contracts.errors import StageFailed
from metta.sweep.experiments.base import Pipeline
from metta.sweep.pipeline.hooks import HOOKS
from tests.docs.hooks import NEAREST, PAGE, SEES_INPUT, page

OUTPUT = 7

ANSWERS: dict[str, object] = {"skip_if": False, "checkpoint_path": "here", "archive": "there"}


class Heard:
    """Calls of one hook at a boundary and of the same global hook, by who was called with what."""

    def __init__(self, name: str) -> None:
        self._name, self.calls = name, list[tuple[str, Any]]()

    def own(self, data: Any) -> Any:
        return self._answer("own", data)

    def shared(self, stage: str, data: Any) -> Any:
        return self._answer(stage, data)

    def _answer(self, who: str, data: Any) -> Any:
        self.calls.append((who, data))
        if self._name == "on_error":
            raise ValueError("not recovered")
        return ANSWERS.get(self._name, data)


def stage(value: int) -> int:
    assert value, "no input"
    return OUTPUT


@pytest.mark.parametrize("name", [name for name, hook in HOOKS.items() if hook.arity])
def test_what_the_page_says_of_functions_is_so(name: str, tmp_path: Path) -> None:
    heard = Heard(name)
    hooks: dict[str, Any] = {"checkpoint": True, name: heard.own}
    given = 0 if name == "on_error" else 1
    try:
        Pipeline().stage("stage", stage).through(**hooks).with_global_hooks(**{name: heard.shared}).run_local(
            given, folder=tmp_path
        )
    except StageFailed:
        assert name == "on_error"
    if name != "on_error":
        assert {data for _, data in heard.calls} == {given if name in SEES_INPUT else OUTPUT}
    called = ["own"] if name in NEAREST else ["own", "stage"]
    assert [who for who, _ in heard.calls] == (called[::-1] if name in ("skip_if", "before") else called)


def test_the_page_is_what_the_table_gives() -> None:
    assert PAGE.read_text("utf-8") == page(), "write it anew: python -m tests.docs.hooks"
