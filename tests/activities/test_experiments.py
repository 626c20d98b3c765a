"""What is measured of trials that are experiments, in the worker's own process."""

from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from metta.sweep.activities import experiments
from metta.sweep.activities.experiments import ExperimentTrials
from metta.sweep.contracts.advances import Measuring
from metta.sweep.contracts.attempts import AttemptKey
from metta.sweep.contracts.consent import Consent, check_reference
from metta.sweep.contracts.errors import Refused
from metta.sweep.contracts.values import Value
from metta.sweep.stores.files import FileStore


async def test_the_consent_of_the_worker_holds_while_a_trial_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asking(value: Value, metric: str | None, packer: object) -> Any:
        check_reference("my_labels:Batch")

    monkeypatch.setattr(experiments, "metrics_of", asking)
    trials = ExperimentTrials(FileStore(tmp_path), Consent(modules=("my_lab",)))
    order = Measuring(attempt=AttemptKey(0, 0, 0), value=Value(packed=0.5))
    with pytest.raises(Refused, match="my_labels:Batch is not registered with this worker"):
        await ActivityEnvironment().run(trials.measure_trial, order)
