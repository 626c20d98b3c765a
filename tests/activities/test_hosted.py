import asyncio
from pathlib import Path

import pytest

from metta.sweep.activities.hosted import HostedSession
from metta.sweep.contracts.budgets import Budget, Control
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.sweeps import SessionInput, SessionResult, SweepInput
from metta.sweep.stores.files import FileStore
from tests.rig import OBJECTIVES, code_in, definition, runners_of

EXITING = """
from metta.sweep.optimizers import RandomOptimizer


class Optimizer(RandomOptimizer):
    def suggest(self, n):
        raise SystemExit(3)
"""


def hosted(folder: Path, optimizer: str = "random") -> HostedSession:
    (folder / "objectives.py").write_text(OBJECTIVES, "utf-8")
    spec = SweepInput.model_validate(definition(optimizer=optimizer)).spec
    input = SessionInput(sweep_id="hosted", spec=spec, control=Control(run="first", budget=Budget(trials=2)))
    return HostedSession("first", input, FileStore(folder / "store"), code_in(folder))


async def result_of(session: HostedSession) -> SessionResult | None:
    return await asyncio.wait_for(session.done, timeout=30)


async def test_what_people_want_while_a_session_is_made_is_what_it_begins_with(tmp_path: Path) -> None:
    session = hosted(tmp_path)
    session.tell(session.control.model_copy(update={"version": 1, "budget": Budget(trials=1)}))
    result = await result_of(session)
    assert result
    assert (result.control.version, result.progress.counts.completed) == (1, 1)


async def test_a_session_that_is_closed_while_it_is_made_has_no_result(tmp_path: Path) -> None:
    session = hosted(tmp_path)
    session.close()
    assert await result_of(session) is None
    assert runners_of() == []


async def test_a_session_that_is_stopped_while_it_is_made_starts_nothing(tmp_path: Path) -> None:
    session = hosted(tmp_path)
    session.stop()
    result = await result_of(session)
    assert result
    assert (result.reason, result.progress.counts.started) == ("stopped", 0)


async def test_user_code_that_exits_does_not_end_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "exiting.py").write_text(EXITING, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DefinitionError, match=r"its code ended with SystemExit\(3\)"):
        await result_of(hosted(tmp_path, optimizer="exiting:Optimizer"))
