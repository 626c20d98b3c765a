"""What is recorded in a project in which nothing runs."""

from pathlib import Path

from metta.sweep.contracts.outcomes import Began, Line
from metta.sweep.stores.files import FileStore
from tests.search.by_hand import ByHand


def recorded(project: Path, name: str = "digits", trials: int = 3) -> ByHand:
    """A sweep that is over, without a server that would know of it."""
    hand = ByHand(FileStore(project / ".metta-sweep").ledger(name), slots=1)
    hand.open(trials=trials)
    hand.tell()
    for number in range(trials):
        hand.tell(hand.complete(number, acc=number / 10))
    return hand


def begun(project: Path, name: str = "talk") -> Path:
    """An experiment of which nothing but its beginning is recorded; where that stands."""
    log = FileStore(project / ".metta-sweep").outcome_log(name)
    began = Began(recorded=1.0, run="r", experiment="m:f", fingerprint="f")
    log.commit(Line(n=0, writer="w", entries=(began,)))
    log.close()
    return project / f".metta-sweep/experiments/{name}/outcomes.jsonl"


def damaged(project: Path) -> dict[str, Path]:
    """The sweep ``hurt`` and the experiment ``torn``, whose first lines are damaged; where these stand."""
    recorded(project, "hurt")
    ledger = project / ".metta-sweep/sweeps/hurt/ledger.jsonl"
    (ledger.parent / "snapshot.jsonl").unlink()  # which spares a look at what is before it
    files = {"hurt": ledger, "torn": begun(project, "torn")}
    for file in files.values():
        file.write_bytes(b"x" + file.read_bytes()[1:])
    return files
