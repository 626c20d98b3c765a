"""Looking again and again at what a project has."""

import shutil
from pathlib import Path

import pytest

from metta.sweep.client.listing import Listing, Lookout
from metta.sweep.client.settings import Settings
from metta.sweep.client.starts import Starts
from metta.sweep.contracts.outcomes import Finished, Line
from metta.sweep.stores.files import FileStore
from tests.cli.records import begun, recorded
from tests.search.by_hand import ByHand


@pytest.fixture
def lookout(project: Path) -> Lookout:
    return Lookout(Starts(Settings.load()))


def going(project: Path, name: str) -> ByHand:
    """A sweep of two trials that Temporal does not know any more, so that it counts as cancelled."""
    hand = ByHand(FileStore(project / ".metta-sweep").ledger(name), slots=1)
    hand.open(trials=2)
    hand.tell()
    return hand


def spoil(path: Path) -> bytes:
    """Damage a file where it does not get longer; what it was."""
    sound = path.read_bytes()
    path.write_bytes(sound.replace(b'"n"', b'"m"'))
    return sound


def states(listing: Listing) -> dict[str, str]:
    return {name: status.state for name, status in (listing.sweeps | listing.experiments).items()}


async def test_what_has_changed_is_seen_and_only_that_is_read(project: Path, lookout: Lookout) -> None:
    assert (await lookout.look()).names == []
    recorded(project, "first")
    second = going(project, "second")
    # the one first in which something was recorded last
    assert [*states(await lookout.look()).items()] == [("first", "finished"), ("second", "cancelled")]

    folder = project / ".metta-sweep/sweeps/first"
    spoil(folder / "ledger.jsonl")
    spoil(folder / "snapshot.jsonl")
    for number in range(2):
        second.tell(second.complete(number, acc=0.75))
    listing = await lookout.look()
    assert (listing.damaged, states(listing)) == ([], {"first": "finished", "second": "finished"})
    [damage] = (await Lookout(Starts(Settings.load())).look()).damaged
    assert str(damage).startswith(str(folder / "ledger.jsonl"))

    shutil.rmtree(folder)
    assert (await lookout.look()).names == ["second"]
    going(project, "first")
    assert states(await lookout.look()) == {"first": "cancelled", "second": "finished"}


async def test_what_is_damaged_is_told_until_it_is_mended(project: Path, lookout: Lookout) -> None:
    mine = going(project, "mine")
    recorded(project, "other")
    await lookout.look()
    mine.tell(mine.complete(0, acc=0.5))
    path = project / ".metta-sweep/sweeps/mine/ledger.jsonl"
    sound = spoil(path)
    for _ in range(2):
        listing = await lookout.look()
        assert listing.names == ["other"]
        assert [str(path) in str(damage) for damage in listing.damaged] == [True]
    path.write_bytes(sound)
    listing = await lookout.look()
    assert (listing.damaged, sorted(listing.names)) == ([], ["mine", "other"])


async def test_experiments_are_followed_also_where_another_one_takes_their_name(
    project: Path, lookout: Lookout
) -> None:
    path = begun(project)
    assert states(await lookout.look()) == {"talk": "cancelled"}
    for recorded_at in (2.0, 3.0):
        log = FileStore(project / ".metta-sweep").outcome_log("talk")
        end = Finished(recorded=recorded_at, reason="completed", message="x" * 1000)
        log.commit(Line(n=1, writer="w", entries=(end,)))
        assert states(await lookout.look()) == {"talk": "finished"}
        path.unlink()
        begun(project)
        assert states(await lookout.look()) == {"talk": "cancelled"}
