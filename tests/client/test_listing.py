"""Looking again and again at what a project has."""

import shutil
from pathlib import Path

import pytest

from metta.sweep.client.listing import Lookout
from metta.sweep.client.settings import Settings
from metta.sweep.client.starts import Starts
from metta.sweep.contracts.outcomes import Began, Finished, Line
from metta.sweep.stores.files import FileStore
from tests.search.by_hand import ByHand


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path)


def begun(store: FileStore, name: str) -> ByHand:
    hand = ByHand(store.ledger(name), slots=1)
    hand.open(trials=2)
    hand.tell()
    return hand


def over(store: FileStore, name: str) -> ByHand:
    hand = begun(store, name)
    for number in range(2):
        hand.tell(hand.complete(number, acc=0.5))
    return hand


def spoil(path: Path) -> bytes:
    """Damage a file where it does not get longer; what it was."""
    sound = path.read_bytes()
    path.write_bytes(sound.replace(b'"n"', b'"m"'))
    return sound


async def test_what_has_changed_is_seen_and_only_that_is_read(store: FileStore) -> None:
    lookout = Lookout(Starts(Settings(store.root)))
    assert (await lookout.look()).names == []
    over(store, "first")
    going = begun(store, "second")
    listing = await lookout.look()
    assert [(name, status.state) for name, status in listing.sweeps.items()] == [
        ("first", "finished"),  # its last event is the later one
        ("second", "cancelled"),  # there is no server on which it could run
    ]

    sweeps = store.root / "sweeps"
    spoil(sweeps / "first/ledger.jsonl")
    spoil(sweeps / "first/snapshot.jsonl")
    for number in range(2):
        going.tell(going.complete(number, acc=0.75))
    listing = await lookout.look()
    assert listing.damaged == []
    assert {name: status.state for name, status in listing.sweeps.items()} == {
        "first": "finished",
        "second": "finished",
    }
    assert [str(damage)[:30] for damage in (await Lookout(Starts(Settings(store.root))).look()).damaged]

    shutil.rmtree(sweeps / "first")
    assert (await lookout.look()).names == ["second"]
    begun(store, "first")
    assert {name: status.state for name, status in (await lookout.look()).sweeps.items()} == {
        "first": "cancelled",
        "second": "finished",
    }


async def test_what_is_damaged_is_told_until_it_is_mended(store: FileStore) -> None:
    going = begun(store, "mine")
    over(store, "other")
    lookout = Lookout(Starts(Settings(store.root)))
    await lookout.look()
    going.tell(going.complete(0, acc=0.5))
    path = store.root / "sweeps/mine/ledger.jsonl"
    sound = spoil(path)
    for _ in range(2):
        listing = await lookout.look()
        assert listing.names == ["other"]
        assert [str(path) in str(damage) for damage in listing.damaged] == [True]
    path.write_bytes(sound)
    listing = await lookout.look()
    assert (listing.damaged, sorted(listing.names)) == ([], ["mine", "other"])


async def test_experiments_are_followed(store: FileStore) -> None:
    log = store.outcome_log("talk")
    began = Began(recorded=1.0, run="run", experiment="mine:Talk", fingerprint="f")
    log.commit(Line(n=0, writer="w", entries=(began,)))
    lookout = Lookout(Starts(Settings(store.root)))
    assert (await lookout.look()).experiments["talk"].state == "cancelled"
    log.commit(Line(n=1, writer="w", entries=(Finished(recorded=2.0, reason="completed"),)))
    assert (await lookout.look()).experiments["talk"].state == "finished"
