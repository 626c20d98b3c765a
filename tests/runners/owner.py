"""A process that owns a pool, to be killed.

python -m tests.runners.owner FOLDER OBJECTIVE '{...params...}' SLOTS

It runs attempts without an end, and prints what they report.
"""

import json
import os
import sys
from itertools import count

from metta.sweep.contracts.events import Reported
from metta.sweep.runners.processes import ProcessPool
from tests.runners.driving import attempt, code, key_of


def main(folder: str, objective: str, params: str, slots: str) -> None:
    os.chdir(folder)
    pool = ProcessPool(code(objective), int(slots))
    numbers = count()
    while True:
        for _ in range(pool.free()):
            pool.start(attempt(next(numbers), **json.loads(params)))
        for event in pool.wait(1.0):
            if isinstance(event, Reported):
                pool.answer(key_of(event))
                print(json.dumps(event.metrics), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
