"""Host a sweep's search in this process, and say how that ended: `python -m tests.crash.hosting NAME RUN`."""

import sys
from pathlib import Path

from metta.sweep.client.starts import code_here
from metta.sweep.contracts.budgets import Budget, Control
from metta.sweep.contracts.components import ComponentSpec
from metta.sweep.contracts.errors import LedgerFenced
from metta.sweep.contracts.spaces import SearchSpace
from metta.sweep.contracts.sweeps import SessionInput, SweepSpec
from metta.sweep.search.host import host
from metta.sweep.stores.files import FileStore
from tests.crash.training import SPACE

BUDGET = 12

SPEC = SweepSpec(
    objective="tests.crash.training:train",
    search_space=SearchSpace.of(SPACE),
    executor=ComponentSpec(type="local", options={"max_parallel": 1}),
    metric="loss",
    seed=7,
)


def hosted(name: str, run: str) -> str:
    """Search to the end, under a control of one's own, and return why that came."""
    control = Control(run=run, budget=Budget(trials=BUDGET))
    wanted = SessionInput(sweep_id=name, spec=SPEC, control=control, resume=True)
    try:
        result = host(wanted, FileStore(Path.cwd() / ".metta-sweep"), code_here()).run(control)
    except LedgerFenced:
        return "fenced off"
    return result.reason if result else "closed"


if __name__ == "__main__":
    print(hosted(*sys.argv[1:]))
