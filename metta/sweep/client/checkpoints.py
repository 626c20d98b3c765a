"""Checkpoints of sweeps that are over, for others to begin with."""

from pathlib import Path

from metta.sweep.client.results import Results
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.errors import DefinitionError


def best_checkpoint(results: Results) -> Path | None:
    """The last checkpoint of the best trial; None when it reported none.

    Raises:
        DefinitionError: When the store keeps it where other programs find no files.
    """
    checkpoint = results.best_trial.checkpoint
    if checkpoint is None:
        return None
    workplace = Settings.of_stores().store.workplace(results.sweep_id)
    if not workplace.is_shared:
        problem = f"checkpoints can be handed on in a store that is a folder, not in {workplace.address}"
        raise DefinitionError([problem], f"the checkpoint of {results.sweep_id}")
    return (workplace.path / checkpoint).absolute()  # one that lies elsewhere is absolute, and stays so
