"""kill -9 at random moments of experiments that share budgets: nobody gets more than there is."""

import pytest

from metta.sweep.stores.files import FileStore
from tests.crash.evidence import Evidence
from tests.crash.grants import Grants
from tests.crash.killing import KILLS, TRIALS, Progress, disturbed, reports
from tests.crash.projects import Project
from tests.crash.training import STEPS


@pytest.mark.timeout(120 + 30 * KILLS)
def test_no_limit_is_exceeded_at_any_level_and_all_is_spent(here: Project) -> None:
    pair, total = TRIALS + TRIALS // 2, 2 * TRIALS
    Grants(each=TRIALS).start(name="grants", budget=total)
    spent = disturbed(here, Grants, "grants", Progress(reports, total * STEPS))
    left, right, rest = spent
    assert max(left, right) <= TRIALS
    assert (left + right, rest) == (pair, total - pair)
    store = FileStore(here.store)
    recorded = {name.rpartition("/")[2]: Evidence(name, here.store) for name in store.names()}
    assert [recorded[name].table().counts.started for name in ("left", "right", "rest")] == spent
    for evidence in recorded.values():
        evidence.assert_sound()  # and no step that was recorded was paid for again
