from pathlib import Path

import pytest

from examples.hybrid_search import Hybrid
from metta.sweep.experiments import SweepContext


@pytest.mark.timeout(180)  # it trains for real: some 20 s, where nothing else runs
@pytest.mark.parametrize(("promising", "trials"), [(0.9, 10), (1.0, 20)])
def test_three_phases_find_a_network_that_reads_digits(promising: float, trials: int, project: Path) -> None:
    found = Hybrid(promising=promising).run_local()
    assert type(found) is SweepContext
    assert len(found.observations) == 8 + 4 + 8 + trials + 3 * 4
    assert found.expected is not None
    best = found.candidates[0]
    assert best.params == found.best_params
    assert best.mean == found.best_score > 0.95
    # each trial has a seed of its own
    assert any(len({*candidate.scores}) > 1 for candidate in found.candidates)
