"""A search over a ledger in a bucket decides as over one in a file, and goes on from it."""

from pathlib import Path
from random import Random

import pytest

from metta.sweep.contracts.events import Event
from metta.sweep.stores.ledgers import line_of
from metta.sweep.stores.object_logs import S3Ledger
from metta.sweep.stores.objects import Objects
from tests.search.by_hand import ByHand
from tests.search.test_rebuild import DEFINITIONS, something

STEPS = 40


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_search_decides_the_same_over_either_ledger(name: str, objects: Objects, tmp_path: Path) -> None:
    random, past = Random(11), list[Event]()
    in_file = ByHand(tmp_path / "ledger.jsonl", slots=3, **DEFINITIONS[name])
    in_bucket = ByHand(S3Ledger(objects), slots=3, **DEFINITIONS[name])
    assert in_bucket.open(trials=12) == in_file.open(trials=12)
    for step in range(STEPS):
        events = something(in_file, random, past)
        past += events
        if step % 10 == 9:  # another process goes on for the same owner
            in_bucket.ledger.close()
            active, cursor = in_bucket.active, in_bucket.cursor
            in_bucket = ByHand(S3Ledger(objects), slots=3, **DEFINITIONS[name])
            in_bucket.active, in_bucket.cursor = active, cursor
            in_bucket.now = in_file.now
            in_bucket.search.join(in_file.search.table.epoch)
        assert in_bucket.tell(*events) == in_file.tell(*events)
    in_bucket.ledger.close()
    recorded = b"".join(map(line_of, S3Ledger(objects).read()))
    assert recorded == (tmp_path / "ledger.jsonl").read_bytes()
    assert in_bucket.params == in_file.params
