"""What tests of the search share: searches and sessions, each over a ledger of its own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.search import session
from tests.search.by_hand import ByHand, Made
from tests.search.played import Played, Plays
from tests.search.scripted import Script


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the ledger lies."""
    return tmp_path / "ledger.jsonl"


@pytest.fixture
def opened(path: Path) -> Made:
    """Makes a search by hand that is open, with ``limits`` of the budget by name."""

    def made(slots: int = 2, limits: dict[str, Any] | None = None, **definition: Any) -> ByHand:
        hand = ByHand(path, slots, **definition)
        assert hand.open(**(limits or {})) == []
        return hand

    return made


@pytest.fixture
def plays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plays]:
    """Makes sessions over one ledger; none of them goes on only because it is time to tell something."""
    monkeypatch.setattr(session, "PUBLISH_S", 3600.0)
    made: list[Played] = []

    def play(script: Script, slots: int = 1, **definition: Any) -> Played:
        made.append(Played(tmp_path, script, slots, **definition))
        return made[-1]

    yield play
    for played in made:
        played.close()
